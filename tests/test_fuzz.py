"""Short forms of `python -m bench.fuzz`, and the faults that a campaign must notice."""

import os
import signal
import time

import pytest
from bench.fuzz import campaign
from bench.fuzz.__main__ import distinct
from bench.fuzz.idx import Idx
from bench.fuzz.kind import Kind, Wrong
from bench.fuzz.models import Models
from bench.fuzz.options import Options
from bench.fuzz.studies import Studies

from chainrule.errors import InputError


class SomeOptions(Options):
    """Long jobs are interrupted soon; on a slow machine, all jobs are."""

    interrupt_after = 1.0


COUNTS = {Idx: 100, Models: 50, Studies: 8, SomeOptions: 50}


@pytest.mark.parametrize("kind", COUNTS)
def test_inputs_at_random_are_read_or_refused(kind):
    found = campaign.run(kind, seed=1, numbers=list(range(COUNTS[kind])), processes=2)
    assert distinct(found) == []
    assert [record.number for record in found] == list(range(COUNTS[kind]))
    accepted = {record.accepted for record in found}
    assert accepted == {True, False} or (kind is SomeOptions and accepted == {False})


class Bad(Kind):
    """An input of each fault that there is."""

    seconds = 1.0
    megabytes = 250

    def prepare(self, base):
        (base / "file").write_text("text")

    def make(self, number, random, base, folder):
        if number == 9:
            raise KeyError(number)
        (folder / "file").write_bytes((base / "file").read_bytes())
        self.number = number
        return f"{number} {random.random()}"

    def run(self, folder, random):
        match self.number:
            case 1:
                raise KeyError("a key")
            case 2:
                time.sleep(5)
            case 3:
                os._exit(3)
            case 4:
                (folder / "file").write_text("other")
            case 5:
                raise InputError("refused")
            case 6:
                _ = b"x" * 300_000_000
            case 7:  # as code that never returns to Python
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
                time.sleep(60)
            case 8:
                raise Wrong("another answer")
        return True


def test_a_campaign_notices_each_fault():
    found = campaign.run(Bad, seed=0, numbers=list(range(11)), processes=1)
    faults = "- traceback time died files - memory died wrong not_made -"
    assert " ".join(record.fault.replace(" ", "_") or "-" for record in found) == faults
    assert [record.accepted for record in found if not record.fault] == [True, False, True]
    assert "KeyError: 'a key'" in found[1].said
    assert found[3].said == "died with status 3"
    assert found[4].said == "changed file"
    assert found[7].said == "hung"
    again = campaign.run(Bad, seed=0, numbers=[10], processes=1)
    assert again[0].told == found[10].told
    assert len(distinct(found)) == 8
