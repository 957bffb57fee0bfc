"""`python -m bench.scaling`: whether a step's time grows no faster than rows × weights.

Two sweeps over the net of `table`: of the batch, and of the width of its three hidden layers.
"""

import statistics
from dataclasses import replace

import click
from rich.console import Console
from rich.table import Table

from .contestants import CONTESTANTS
from .peak import gflops
from .process import Process, kept
from .workloads import WORKLOADS, Workload

BATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
WORK = 3e10
"""Operations an epoch: a fifth of a second, so that starting it does not count."""


def sized(batch: int, width: int) -> Workload:
    """The net of `table` with another batch and width, and rows for about `WORK`."""
    w = replace(WORKLOADS["table"], widths=(64, width, width, width, 8), batch=batch)
    return replace(w, rows=batch * min(2_000, max(3, round(WORK / w.operations))))


def microseconds(w: Workload, who: str, turns: int) -> float:
    """The median time of a step."""
    with kept(w) as folder:
        process = Process(who, w, folder)
        for _ in range(turns):
            process.turn()
        process.end()
    return statistics.median(process.seconds) / w.steps * 1e6


@click.command()
@click.option("--turns", default=3, show_default=True)
@click.option("--who", default="chainrule", show_default=True, type=click.Choice(list(CONTESTANTS)))
def main(turns: int, who: str) -> None:
    """Time steps over a range of batches and of widths."""
    console, peak = Console(highlight=False), gflops()
    cores = CONTESTANTS[who].cores
    for title, sizes in (
        ("batch", [(batch, 256) for batch in BATCHES]),
        ("width", [(256, width) for width in WIDTHS]),
    ):
        table = Table("batch", "width", title=f"{who}, by {title}")
        for column in ("µs a step", "GFLOP/s", "of peak", "grew", "work grew"):
            table.add_column(column, justify="right")
        before: tuple[float, float] | None = None
        for batch, width in sizes:
            w = sized(batch, width)
            us = microseconds(w, who, turns)
            speed = w.operations / us / 1e3
            grew = (us / before[0], w.operations / before[1]) if before else None
            before = us, w.operations
            table.add_row(
                f"{batch:,}",
                f"{width:,}",
                f"{us:,.0f}",
                f"{speed:,.1f}",
                f"{speed / (peak * cores):.0%}",
                *(f"{ratio:.2f} ×" for ratio in grew or ()),
            )
        console.print(table)


if __name__ == "__main__":
    main()
