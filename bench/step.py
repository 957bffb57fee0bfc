"""`python -m bench.step`: what a training step costs, beside the peers, in one run.

Each contestant has a process of its own; they take turns, so that a noisy machine is noisy for all,
and the median of all epochs counts. Peers that are not installed are left out: `pip install torch
jax`.
"""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from .contestants import CONTESTANTS, OURS, PEERS, CannotDo
from .peak import gflops
from .process import Failed, Process, kept
from .workloads import WORKLOADS, Workload

Figures = dict[str, float]


def start(console: Console, names: list[str], w: Workload, folder: Path) -> dict[str, Process]:
    """Who can train this workload; the reasons of the others are told."""
    able = {}
    for who in names:
        try:
            able[who] = Process(who, w, folder)
        except CannotDo as error:
            console.print(f"  {who} has no {error}")
        except Failed as error:
            console.print(f"  {who} failed: {error}", style="red")
    return able


def measure(console: Console, w: Workload, turns: int, names: list[str]) -> dict[str, Figures]:
    """For each contestant: µs a step, seconds to the end of the first epoch, memory."""
    with kept(w) as folder:
        cold = start(console, names, w, folder)
        for process in cold.values():
            process.end()
        warm = start(console, list(cold), w, folder)
        for _ in range(turns):
            for process in warm.values():
                process.turn()
        for process in warm.values():
            process.end()
    return {
        who: {
            "us": statistics.median(process.seconds) / w.steps * 1e6,
            "least_us": min(process.seconds) / w.steps * 1e6,
            "most_us": max(process.seconds) / w.steps * 1e6,
            "first_cold": cold[who].first,
            "first_warm": process.first,
            "megabytes": process.megabytes,
        }
        for who, process in warm.items()
    }


def compare(found: dict[str, Figures]) -> dict[str, float]:
    """How many times as long as our best each peer's best takes."""
    ours = min(row["us"] for who, row in found.items() if who in OURS)
    rows = {peer: [r["us"] for who, r in found.items() if who.startswith(peer)] for peer in PEERS}
    return {peer: min(times) / ours for peer, times in rows.items() if times}


def show(console: Console, w: Workload, found: dict[str, Figures], peak: float) -> None:
    """A table of a workload."""
    best = min(row["us"] for row in found.values())
    columns = ("µs a step", "least … most", "× best", "GFLOP/s", "of peak", "cold", "warm", "MB")
    table = Table("", title=w.name)
    for column in columns:
        table.add_column(column, justify="right")
    for who, row in found.items():
        speed = w.operations / row["us"] / 1e3
        table.add_row(
            who,
            f"{row['us']:,.1f}",
            f"{row['least_us']:,.0f} … {row['most_us']:,.0f}",
            f"{row['us'] / best:.2f}",
            f"{speed:,.1f}",
            f"{speed / (peak * CONTESTANTS[who].cores):.0%}",
            f"{row['first_cold']:.2f}",
            f"{row['first_warm']:.2f}",
            f"{row['megabytes']:.0f}",
        )
    console.print(table)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(WORKLOADS)))
@click.option("--turns", default=5, show_default=True, help="Of a third of a second or an epoch.")
@click.option("--only", multiple=True, help="Contestants whose name has this word.")
@click.option("--digits", is_flag=True, help="MNIST's rows, in nets that have 784 columns.")
@click.option("--json", "as_json", is_flag=True)
def main(
    names: tuple[str, ...], turns: int, only: tuple[str, ...], digits: bool, as_json: bool
) -> None:
    """Time the workloads NAMES, by default all of them.

    A column of the tables that needs a word: "of peak" is the share of what one core, or two where
    the contestant has them, can multiply and add on registers alone; "cold" and "warm" are seconds
    from the start of the process to the end of the first epoch, without and with compiled code in
    the cache; "MB" is what training takes beyond the data and what was imported. Rows are random
    numbers; of MNIST's, which are in the folder that CHAINRULE_DATA names, chainrule leaves zeros
    out of products, and the share of the peak is that of what others compute.
    """
    console = Console(stderr=as_json, highlight=False, width=120)
    asked = [who for who in CONTESTANTS if not only or any(word in who for word in only)]
    able = [who for who in asked if CONTESTANTS[who].installed]
    if absent := [who for who in asked if who not in able]:
        console.print(f"not installed: {', '.join(absent)}")
    peak, results = gflops(), {}
    console.print(f"peak of a core, on registers alone: {peak:.1f} GFLOP/s")
    for name in names or WORKLOADS:
        w = WORKLOADS[name]
        w = replace(w, digits=digits and w.widths[0] == 784)
        found = measure(console, w, turns, able)
        show(console, w, found, peak)
        ratios = compare(found) if any(who in OURS for who in found) else {}
        for peer, ratio in ratios.items():
            console.print(f"  {peer}'s best takes {ratio:.1f} × ours")
        results[name] = {"contestants": found, "ratios": ratios}
    if as_json:
        click.echo(json.dumps({"peak": peak, "workloads": results}, indent=1))


if __name__ == "__main__":
    main()
