"""The data, nets and spaces of `bench.search`; and processes of their own to run in."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Rows = tuple[np.ndarray, np.ndarray]
Four = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""X and y to train on, X and y to validate."""


class Missing(Exception):
    """What is not on this machine, in one line."""


@dataclass(frozen=True)
class Job:
    """A data set, and the validation score that is to be reached."""

    name: str
    rows: Callable[[], Rows]
    outputs: int
    target: float
    classes: bool = True

    def split(self, seed: int, fraction: float = 0.2) -> Four:
        """The rows that `Search` trains on and validates on with this seed."""
        from chainrule.data.split import Split, hold_out

        train, held = hold_out(Split(*self.rows()), fraction, seed, classes=self.classes)
        return train.X, train.y, held.X, held.y

    def reached(self, score: float) -> bool:
        """Whether an accuracy is large enough, or an RMSE small enough."""
        return score >= self.target if self.classes else score <= self.target


def folder(name: str) -> Path:
    """A data set in the folder that the environment variable CHAINRULE_DATA names."""
    found = Path(os.environ.get("CHAINRULE_DATA", "no data")) / name
    if not found.is_dir():
        raise Missing(f"{found}: no such folder; CHAINRULE_DATA must name one that has {name}/")
    return found


def mnist(rows: int) -> Rows:
    """The first images of MNIST's training part, 0…1."""
    from chainrule.data.source import open_source

    found = open_source(folder("mnist"))
    X, y = found.train.X[:rows], found.train.y[:rows]
    return (X * found.factor).astype(np.float32), y.astype(np.int64)


def digits() -> Rows:
    """scikit-learn's 1,797 digits, 0…1."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y.astype(np.int64)


def california(rows: int) -> Rows:
    """California housing in a random order, each column and the target standardised."""
    table = np.genfromtxt(folder("california") / "data.csv.gz", delimiter=",", skip_header=1)
    table = np.random.default_rng(0).permutation(table)[:rows]
    table = ((table - table.mean(axis=0)) / table.std(axis=0)).astype(np.float32)
    return table[:, :-1], table[:, -1]


BOOK = Job("book", lambda: mnist(500), 10, 1.0)

JOBS = (
    Job("MNIST, 5,000 rows", lambda: mnist(5_000), 10, 0.95),
    Job("digits, 1,797 rows", digits, 10, 0.986),
    Job("California, 5,000 rows", lambda: california(5_000), 1, 0.5, classes=False),
)


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def processes(count: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes whose libraries take so many threads each."""
    text, context = str(threads), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context) as pool:
        with environment(OMP_NUM_THREADS=text, OPENBLAS_NUM_THREADS=text):
            list(pool.map(time.sleep, [0.2] * count))  # so that each process is there
        yield pool
