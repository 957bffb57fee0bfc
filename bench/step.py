"""`python -m bench.step`: what a training step costs, beside the peers, in one run.

Each contestant has a process of its own; epochs are taken in turn, so that a noisy machine is noisy
for all, and the median counts. Peers that are not installed are left out: `pip install torch jax`.
"""

import json
import statistics
import subprocess
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from .contestants import CONTESTANTS
from .peak import gflops
from .workloads import WORKLOADS

PEERS = ("PyTorch", "JAX", "scikit-learn", "NumPy")


class Contestant:
    """A process that trains for an epoch when it is asked to."""

    def __init__(self, who: str, what: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", who, what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.ready = self._answer() or {"able": False}
        self.seconds: list[float] = []
        self.megabytes = 0.0

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return dict(json.loads(line)) if line else {}

    def epoch(self) -> None:
        """Train for one more epoch."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.seconds.append(answer["seconds"])
        self.megabytes = answer["megabytes"]

    def end(self) -> None:
        """Let the process go."""
        self.process.communicate()


def measure(name: str, epochs: int, only: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """For each contestant: µs a step, seconds to the end of the first epoch, memory."""
    w = WORKLOADS[name]
    running = {
        who: Contestant(who, name)
        for who in CONTESTANTS
        if not only or any(word in who for word in only)
    }
    able = {who: c for who, c in running.items() if c.ready["able"]}
    for _ in range(epochs):
        for contestant in able.values():
            contestant.epoch()
    for contestant in running.values():
        contestant.end()
    return {
        who: {
            "us": statistics.median(c.seconds) / w.steps * 1e6,
            "first": c.ready["first"],
            "megabytes": c.megabytes,
        }
        for who, c in able.items()
    }


def show(console: Console, name: str, found: dict[str, dict[str, float]], peak: float) -> None:
    """A table of a workload."""
    best = min(row["us"] for who, row in found.items() if who.startswith("chainrule"))
    table = Table("", "µs a step", "× ours", "of peak", "first epoch, s", "MB", title=name)
    for who, row in found.items():
        speed = WORKLOADS[name].operations / row["us"] / 1e3
        cores = 1 if "1 thread" in who else 2
        table.add_row(
            who,
            f"{row['us']:,.1f}",
            f"{row['us'] / best:.2f}",
            f"{speed / (peak * cores):.0%}",
            f"{row['first']:.2f}",
            f"{row['megabytes']:.0f}",
        )
    console.print(table)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(WORKLOADS)))
@click.option("--epochs", default=5, show_default=True, help="Timed, after one that is not.")
@click.option("--only", multiple=True, help="Contestants whose name has this word.")
@click.option("--json", "as_json", is_flag=True)
def main(names: tuple[str, ...], epochs: int, only: tuple[str, ...], as_json: bool) -> None:
    """Time the workloads NAMES, by default all of them."""
    console = Console(stderr=as_json, highlight=False, width=100)
    peak, results = gflops(), {}
    console.print(f"peak of a core, on registers alone: {peak:.1f} GFLOP/s")
    for name in names or WORKLOADS:
        results[name] = measure(name, epochs, only)
        show(console, name, results[name], peak)
        for peer in PEERS:
            ratios = [row["us"] for who, row in results[name].items() if who.startswith(peer)]
            mine = [r["us"] for who, r in results[name].items() if who.startswith("chainrule")]
            if ratios and mine:
                console.print(f"  {peer}'s best takes {min(ratios) / min(mine):.1f} × ours")
    if as_json:
        click.echo(json.dumps({"peak": peak, "workloads": results}))


if __name__ == "__main__":
    main()
