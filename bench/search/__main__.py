"""`python -m bench.search`: what a search costs, and how soon it gets somewhere, beside the peers.

Parts: `book`, the book's search, ms a trial, then what abandoning and narrowing make of it; `rate`,
trials a second of a small net, and memory; `target`, the time until a validation score is reached;
`kills`, searches that are killed and resumed. Every contestant has processes of its own. Peers that
are not installed are left out: `pip install torch optuna`. MNIST and California housing are read
from the folder that CHAINRULE_DATA names.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from . import book, kills, race, rate, target
from .jobs import BOOK, JOBS, Job, Missing, processes

PEERS = ("NumPy", "PyTorch", "Optuna", "scikit-learn")
NEEDS = {"PyTorch": ("torch",), "Optuna": ("optuna", "torch"), "scikit-learn": ("sklearn",)}
BOOK_TRIALS = 100


def installed(console: Console, names: Iterable[str]) -> list[str]:
    """Those whose packages are there; the others are told of."""
    found = []
    for name in names:
        peer = next((peer for peer in NEEDS if name.startswith(peer)), "")
        missing = [package for package in NEEDS.get(peer, ()) if find_spec(package) is None]
        if missing:
            console.print(f"{name} is left out: {', '.join(missing)} is not installed")
        else:
            found.append(name)
    return found


def table(title: str, *columns: str) -> Table:
    """A table whose first column is names."""
    found = Table(columns[0], title=title, title_justify="left")
    for column in columns[1:]:
        found.add_column(column, justify="right")
    return found


# The book's search -------------------------------------------------------------------------------


def run_book(console: Console, trials: int, turns: int, seeds: int) -> dict[str, Any]:
    """ms a trial by contestant, who take turns; then the time to the best score of plain random."""
    BOOK.rows()  # or `Missing`
    names = installed(console, book.CONTESTANTS)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns):
        for name in names:
            train, count, threads = book.CONTESTANTS[name]
            share = max(2, trials // count) + 1
            with processes(count, threads) as pool:
                jobs = [pool.submit(train, turn * count + i, share, threads) for i in range(count)]
                ends = sorted(end for job in jobs for end in job.result())[count * threads - 1 :]
            found[name].append((ends[-1] - ends[0]) / (len(ends) - 1) * 1e3)
    result = {name: statistics.median(times) for name, times in found.items()}
    best = min(ms for name, ms in result.items() if name.startswith("chainrule"))
    title = "784-100×6-10, 400 + 100 images, 50 epochs, nothing abandoned"
    rows = table(title, "the book's search", "ms a trial", "× our best")
    for name, ms in result.items():
        rows.add_row(name, f"{ms:,.1f}", f"{ms / best:.2f}")
    console.print(rows)
    for peer in PEERS:
        if times := [ms for name, ms in result.items() if name.startswith(peer)]:
            console.print(f"  {peer}'s best takes {min(times) / best:.1f} × ours")
    return {"ms": result, "same score": same_score(console, result, seeds)}


def same_score(console: Console, ms: dict[str, float], seeds: int) -> list[dict[str, float]]:
    """How soon abandoning and narrowing find what 100 plain trials find at best."""
    results = []
    rows = table(
        f"the best of {BOOK_TRIALS} plain trials, and the time to it with abandoning, narrowing",
        "seed", "best", "s, plain", "s to the same", "best of as many",
    )  # fmt: skip
    for seed in range(seeds):
        with processes(1, 1) as pool:
            plain = pool.submit(
                book.rungs, seed, BOOK_TRIALS, 2, reduction=None, narrow=False
            ).result()
            sieved = pool.submit(book.rungs, seed, BOOK_TRIALS * 3, 2).result()
        best = max(score for _, score in plain)
        reached = [seconds for seconds, score in sieved if score >= best]
        found = {
            "best": best,
            "plain": plain[-1][0],
            "reached": min(reached, default=math.nan),
            "sieved best": max(score for _, score in sieved),
        }
        results.append(found)
        texts = ("{:.2f}", "{:.2f}", "{:.2f}", "{:.2f}")
        values = zip(texts, found.values(), strict=True)
        rows.add_row(str(seed), *(text.format(value) for text, value in values))
    console.print(rows)
    ratio = statistics.median(f["reached"] for f in results)
    for peer in PEERS:
        if times := [value for name, value in ms.items() if name.startswith(peer)]:
            whole = min(times) * BOOK_TRIALS / 1e3
            console.print(
                f"  {BOOK_TRIALS} trials of {peer}'s best take {whole / ratio:.0f} × as long"
            )
    return results


# Trials a second ---------------------------------------------------------------------------------


def run_rate(console: Console, trials: int, many: int) -> list[dict[str, Any]]:
    """Trials a second with 1 thread, 2, and as many as fit; then many trials, and memory."""
    results = []
    for count, threads in ((trials, 1), (trials, 2), (trials, None), (many, None)):
        with processes(1, 1) as pool:
            results.append(pool.submit(rate.search, count, threads, max(1, count // 5)).result())
    rows = table("13-32-1, 500 rows, batch 50, 10 epochs; none abandoned", "trials", "threads",
                 "a second", "of each quarter", "MB after … trials")  # fmt: skip
    for r in results:
        quarters = ", ".join(f"{speed:,.0f}" for speed in r["quarters"])
        megabytes = ", ".join(f"{n:,}: {mb:.0f}" for n, mb in r["megabytes"].items())
        rows.add_row(
            f"{r['trials']:,}",
            str(r["threads"] or "auto"),
            f"{r['a_second']:,.0f}",
            quarters,
            megabytes,
        )
    console.print(rows)
    return results


# Time to a target --------------------------------------------------------------------------------


def run_target(
    console: Console, seeds: int, limit: float, warm: bool, only: tuple[str, ...]
) -> dict[str, dict[str, list[float | None]]]:
    """Seconds to each job's target by contestant and seed; None where the time was up."""
    names = installed(console, target.CONTESTANTS)
    names = [name for name in names if not only or any(word in name for word in only)]
    results: dict[str, dict[str, list[float | None]]] = {}
    for which, job in enumerate(JOBS):
        try:
            job.rows()
        except Missing as missing:
            console.print(f"{job.name} is left out: {missing}")
            continue
        found: dict[str, list[float | None]] = {name: [] for name in names}
        for seed in range(seeds):
            for name in names:
                found[name].append(race.seconds_to_target(name, which, seed, limit, warm))
        results[job.name] = found
        show_target(console, job, found, limit)
    return results


def show_target(
    console: Console, job: Job, found: dict[str, list[float | None]], limit: float
) -> None:
    """A table of a job; who did not get there in time counts as later than all others."""
    medians = {
        name: statistics.median(math.inf if s is None else s for s in times)
        for name, times in found.items()
    }
    ours = medians.get("chainrule", math.inf)
    sign, measure = ("≥", "accuracy") if job.classes else ("≤", "RMSE")
    rows = table(f"{job.name}: validation {measure} {sign} {job.target:g}", "",
                 "median s", "× ours", "least s", "most s", "not reached")  # fmt: skip
    for name, times in found.items():
        got = [s for s in times if s is not None]
        median, late = medians[name], len(times) - len(got)
        bound = "> " if median == math.inf else ""
        seconds = min(median, limit)
        rows.add_row(
            name,
            f"{bound}{seconds:.2f}",
            f"{bound}{seconds / ours:.1f}" if ours < math.inf else "",
            f"{min(got):.2f}" if got else "",
            f"{max(got):.2f}" if got and not late else f"> {limit:g}",
            f"{late} of {len(times)}" if late else "",
        )
    console.print(rows)


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(["book", "rate", "target", "kills"]))
@click.option("--trials", default=20, show_default=True, help="book: timed, in each turn.")
@click.option("--turns", default=3, show_default=True, help="book: of which the median counts.")
@click.option("--count", default=1_000, show_default=True, help="rate: trials.")
@click.option("--many", default=20_000, show_default=True, help="rate: trials for the memory.")
@click.option("--seeds", default=20, show_default=True, help="book, target: searches.")
@click.option("--limit", default=60.0, show_default=True, help="target: seconds for each of them.")
@click.option("--only", multiple=True, help="target: contestants whose name has this word.")
@click.option("--warm", is_flag=True, help="target: machine code may be in chainrule's cache.")
@click.option("--times", default=200, show_default=True, help="kills: how many.")
@click.option("--json", "as_json", is_flag=True)
def main(
    parts: tuple[str, ...], trials: int, turns: int, count: int, many: int, seeds: int,
    limit: float, only: tuple[str, ...], warm: bool, times: int, as_json: bool,
) -> None:  # fmt: skip
    """Run PARTS, by default all of them."""
    console = Console(stderr=as_json, highlight=False, width=110)
    run: dict[str, Callable[[], Any]] = {
        "book": lambda: run_book(console, trials, turns, seeds),
        "rate": lambda: run_rate(console, count, many),
        "target": lambda: run_target(console, seeds, limit, warm, only),
        "kills": lambda: kills.run(console, times),
    }
    results = {}
    for part in parts or run:
        try:
            results[part] = run[part]()
        except (Missing, race.Ended) as reason:
            console.print(f"{part} is left out: {reason}")
    if as_json:
        click.echo(json.dumps(results))


if __name__ == "__main__":
    main()
