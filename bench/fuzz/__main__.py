"""`python -m bench.fuzz idx models studies options`: status 1 if there is any fault."""

from __future__ import annotations

import sys

import click
from rich.console import Console
from rich.table import Table

from . import KINDS, campaign
from .worker import Record


@click.command()
@click.argument("kinds", nargs=-1, type=click.Choice(list(KINDS)))
@click.option("--count", type=int, help="Inputs of each kind; default: as many as the kind says.")
@click.option("--seed", default=0, show_default=True)
@click.option("--only", type=int, multiple=True, help="The numbers of inputs to run again.")
@click.option("--processes", default=2, show_default=True)
@click.option("--verbose", is_flag=True, help="Tell of each input what it was.")
def main(
    kinds: tuple[str, ...], count: int | None, seed: int, only: tuple[int, ...], processes: int,
    verbose: bool,
) -> None:  # fmt: skip
    """Make inputs of KINDS at random, by default of all, and see what becomes of them."""
    console = Console(highlight=False, width=150, soft_wrap=True)
    names = ("kind", "inputs", "refused", "accepted", "tracebacks", "other faults", "slowest s",
             "largest MB")  # fmt: skip
    table = Table(*names, box=None, pad_edge=False)
    faults = False
    for kind in kinds or KINDS:
        inputs = range(KINDS[kind]().count if count is None else count)
        found = campaign.run(KINDS[kind], seed, list(only or inputs), processes)
        table.add_row(kind, *_row(found))
        faults |= any(record.fault for record in found)
        for line in [_line(record) for record in found] if verbose else distinct(found):
            console.print(f"{kind} --seed {seed} {line}", markup=False)
    console.print(table)
    sys.exit(int(faults))


def _row(found: list[Record]) -> list[str]:
    tracebacks = sum(record.fault == "traceback" for record in found)
    faults = sum(bool(record.fault) for record in found)
    accepted = sum(record.accepted for record in found if not record.fault)
    numbers = (len(found), len(found) - accepted - faults, accepted, tracebacks,
               faults - tracebacks)  # fmt: skip
    slowest = max(record.seconds for record in found)
    return [*map(str, numbers), f"{slowest:.1f}", f"{max(r.megabytes for r in found):.0f}"]


def distinct(found: list[Record]) -> list[str]:
    """A line for each fault that is other than the others: the first input, and how many more."""
    faults: dict[tuple[str, str, str], list[Record]] = {}
    for record in found:
        if record.fault:
            word = record.said.split(":")[0] if record.where else record.said[:60]
            faults.setdefault((record.fault, word, record.where), []).append(record)
    return [f"{_line(records[0])} ({len(records)} of this kind)" for records in faults.values()]


def _line(record: Record) -> str:
    result = record.fault or ("accepted" if record.accepted else "refused")
    return (
        f"--only {record.number}: {result}: {record.where} {record.said[:400]} "
        f"[{record.seconds:.1f} s, {record.megabytes:.0f} MB; {record.told}]"
    )


if __name__ == "__main__":
    main()
