"""A campaign: many inputs of a kind, in a few processes, each started again where it dies."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import KINDS
from .worker import SECONDS, Record, work

HUNG = 4 * SECONDS
"""Seconds after which a process that says nothing is killed: its code never returns to Python."""


def run(
    kind: str, seed: int = 0, numbers: list[int] | None = None, processes: int = 2
) -> list[Record]:
    """What became of each input."""
    maker = KINDS[kind]()
    numbers = list(range(maker.count)) if numbers is None else numbers
    with tempfile.TemporaryDirectory(prefix="chainrule-fuzz-") as name:
        base = Path(name)
        os.environ["CHAINRULE_CACHE"] = str(base / "cache")
        maker.prepare(base)
        shares = [numbers[i::processes] for i in range(processes)]
        with ThreadPoolExecutor(processes) as pool:
            found = pool.map(lambda share: _share(kind, seed, share, base), shares)
            return sorted(itertools.chain(*found), key=lambda record: record.number)


def _share(kind: str, seed: int, numbers: list[int], base: Path) -> list[Record]:
    found: list[Record] = []
    while len(found) < len(numbers):
        found += _until_it_ends(kind, seed, numbers[len(found) :], base)
    return found


def _until_it_ends(kind: str, seed: int, numbers: list[int], base: Path) -> list[Record]:
    """The records of one process; where it dies, a record of the input that it was at."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(kind, seed, numbers, base, theirs))
    process.start()
    theirs.close()
    found: list[Record] = []
    at = numbers[0]
    try:
        while ours.poll(HUNG):
            said = ours.recv()
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
