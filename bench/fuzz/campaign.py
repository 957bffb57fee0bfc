"""A campaign: many inputs of a kind, in a few processes, each started again where it dies."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

from .kind import Kind
from .worker import Record, work

HUNG = 4.0
"""A process is killed that says nothing for so many times the time of an input: its code never
returns to Python."""
STARTS = 20.0
"""Seconds that a process may take to start."""


def run(kind: type[Kind], seed: int, numbers: list[int], processes: int = 2) -> list[Record]:
    """What became of each input."""
    with tempfile.TemporaryDirectory(prefix="chainrule-fuzz-") as name:
        base = Path(name)
        with mock.patch.dict(os.environ, {"CHAINRULE_CACHE": str(base / "cache")}):
            kind().prepare(base)
        shares = [numbers[i::processes] for i in range(processes)]
        with ThreadPoolExecutor(processes) as pool:
            found = pool.map(lambda share: _share(kind, seed, share, base), shares)
            return sorted(itertools.chain(*found), key=lambda record: record.number)


def _share(kind: type[Kind], seed: int, numbers: list[int], base: Path) -> list[Record]:
    found: list[Record] = []
    while len(found) < len(numbers):
        found += _until_it_ends(kind, seed, numbers[len(found) :], base)
    return found


def _until_it_ends(kind: type[Kind], seed: int, numbers: list[int], base: Path) -> list[Record]:
    """The records of one process; where it dies, a record of the input that it was at."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(kind, seed, numbers, base, theirs))
    process.start()
    theirs.close()
    found: list[Record] = []
    at, wait = numbers[0], STARTS
    try:
        while ours.poll(wait):
            said, wait = ours.recv(), HUNG * kind.seconds
            if said is None:
                return found
            if isinstance(said, int):
                at = said
            else:
                found.append(said)
        process.kill()
        fault = "hung"
    except EOFError:
        process.join()
        fault = f"died with status {process.exitcode}"
    return [*found, Record(at, "", False, 0.0, 0.0, "died", fault)]
