"""`python -m bench.parallel`: trainers side by side in one process; how soon Ctrl-C is answered."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import click
from rich.console import Console
from rich.table import Table

from .workloads import WORKLOADS, Workload

WORK = 4e10
INTERRUPTED = """
import sys, warnings
from bench.contestants.ours import epochs
from bench.workloads import WORKLOADS
from chainrule import Interrupted
warnings.simplefilter("error", Interrupted)
w = WORKLOADS[sys.argv[1]]
train = epochs(w, *w.data(), 2)
train(1)
print("ready", flush=True)
try:
    while True:
        train(1000)
except (Interrupted, KeyboardInterrupt):
    print("interrupted", flush=True)
"""


def throughput(w: Workload, trainers: int, repeats: int) -> list[float]:
    """Steps a second of so many trainers, each with a thread of its own and one native thread."""
    from .contestants.ours import epochs

    X, y = w.data()
    trains = [epochs(w, X, y, 1) for _ in range(trainers)]
    times = max(1, round(WORK / w.operations / w.steps))
    together = threading.Barrier(trainers)

    def train(which: int) -> float:
        together.wait()
        began = time.perf_counter()
        trains[which](times)
        return time.perf_counter() - began

    with ThreadPoolExecutor(trainers) as pool:
        list(pool.map(train, range(trainers)))
        seconds = [max(pool.map(train, range(trainers))) for _ in range(repeats)]
    return [trainers * times * w.steps / s for s in seconds]


def answer(name: str, wait: float) -> float:
    """Seconds from Ctrl-C in the middle of an epoch to the caller's next line."""
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, name], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        began = time.perf_counter()
        os.kill(process.pid, signal.SIGINT)
        said = process.stdout.readline()
        seconds = time.perf_counter() - began
    if said != "interrupted\n":
        raise click.ClickException(f"{name}: Ctrl-C was not answered: {said!r}")
    return seconds


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(WORKLOADS)))
@click.option("--repeats", default=5, show_default=True)
def main(names: tuple[str, ...], repeats: int) -> None:
    """Two trainers at once beside one, on the workloads NAMES, by default all of them."""
    table = Table("")
    for column in ("one, steps/s", "two at once", "gain", "Ctrl-C, median s", "most s"):
        table.add_column(column, justify="right")
    for name in names or WORKLOADS:
        one, two = (
            statistics.median(throughput(WORKLOADS[name], count, repeats)) for count in (1, 2)
        )
        waits = [answer(name, 0.1 + 0.037 * i) for i in range(repeats)]
        table.add_row(
            name,
            f"{one:,.0f}",
            f"{two:,.0f}",
            f"{two / one:.2f} ×",
            f"{statistics.median(waits):.3f}",
            f"{max(waits):.3f}",
        )
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
