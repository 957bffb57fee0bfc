"""A process that takes inputs one after the other, and tells what became of each."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from types import FrameType

from chainrule.errors import ChainruleError

from .kind import Kind, Wrong, contents

ADDRESSES = 6 << 30
"""Bytes that a process may ask for: an input that wants all memory must not get it."""


class TooLong(BaseException):
    """Raised in the input's own code, whose place is told."""


@dataclass(frozen=True)
class Record:
    """What became of an input; `fault` is empty where all is well."""

    number: int
    told: str
    accepted: bool
    seconds: float
    megabytes: float
    fault: str = ""
    said: str = ""
    where: str = ""


def work(kind: type[Kind], seed: int, numbers: list[int], base: Path, pipe: Connection) -> None:
    """Take inputs, until one is so wrong that the process is not to be trusted any more."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["CHAINRULE_CACHE"] = str(base / "cache")
    warnings.simplefilter("ignore")
    made = kind()
    for number in numbers:
        pipe.send(number)
        record = take(made, seed, number, base)
        pipe.send(record)
        if record.fault in ("time", "memory"):
            break
    pipe.send(None)
    pipe.close()
    os._exit(0)  # threads that an input left behind hold nobody up


def take(kind: Kind, seed: int, number: int, base: Path) -> Record:
    """Make an input and run it."""
    random = Random(f"{seed} {type(kind).__name__} {number}")
    folder = Path(tempfile.mkdtemp(prefix="chainrule-fuzz-"))
    before_it = Path.cwd()
    try:
        os.chdir(folder)
        try:
            told = kind.make(number, random, base, folder)
        except Exception as error:  # a mistake in the campaign, not in the product
            return Record(number, "", False, 0.0, 0.0, "not made", repr(error))
        before = contents(folder)
        _forget_the_peak()
        began = time.monotonic()
        fault = said = where = ""
        accepted = False
        try:
            with _limited(kind.seconds, kind.interrupt_after):
                accepted = kind.run(folder, random)
        except ChainruleError as error:
            said = str(error)
        except KeyboardInterrupt:
            fault, said = "traceback", "KeyboardInterrupt"
        except TooLong as error:
            fault, said, where = "time", f"over {kind.seconds:g} s", _where(error)
        except Wrong as error:
            fault, said = "wrong", str(error)
        except BaseException as error:  # whatever a user would see as a traceback
            said = traceback.format_exception_only(error)[-1].strip()
            fault, where = "traceback", _where(error)
        seconds, megabytes = time.monotonic() - began, _peak()
        if not fault and megabytes > kind.megabytes:
            fault, said = "memory", f"{megabytes:,.0f} MB"
        if not fault and (changed := _changed(kind, before, contents(folder))):
            fault, said = "files", f"changed {changed}"
        return Record(number, told, accepted, seconds, megabytes, fault, said, where)
    finally:
        os.chdir(before_it)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _limited(seconds: float, interrupt_after: float | None) -> Iterator[None]:
    """Raise `TooLong` after the time for an input; press Ctrl-C before, where that is wanted."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TooLong

    def press(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGALRM, late if interrupt_after is None else press)
    signal.setitimer(signal.ITIMER_REAL, seconds if interrupt_after is None else interrupt_after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _where(error: BaseException) -> str:
    """The last place within the package."""
    places = [
        f"{match[1]}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if (match := re.search(r"(chainrule/.*\.py)$", frame.filename))
    ]
    return places[-1] if places else ""


def _changed(kind: Kind, before: dict[str, bytes], after: dict[str, bytes]) -> str:
    """Files that are other than before, and may not be."""
    names = {name for name in before | after if before.get(name) != after.get(name)}
    return ", ".join(sorted(name for name in names if not kind.may_change(name)))


def _forget_the_peak() -> None:
    with contextlib.suppress(OSError):  # Linux alone can forget it
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The largest memory, in MB, since it was last forgotten."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
