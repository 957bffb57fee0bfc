"""Who is timed. A contestant makes a function that trains for some epochs."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from bench.workloads import Workload
from chainrule.engines.compiled.crew import processors

Epoch = Callable[[], object]
"""Trains for an epoch."""

Epochs = Callable[[int], object]
"""Trains for so many."""


class CannotDo(Exception):
    """What a workload asks of a contestant that has no such thing."""


@dataclass(frozen=True)
class Contestant:
    """A module of this folder, and with how many threads; None leaves it to the contestant."""

    module: str
    threads: int | None
    needs: str = "numpy"
    function: str = "epoch"
    """Makes an `Epoch`, or where `many` says so an `Epochs`."""
    many: bool = False

    @property
    def cores(self) -> int:
        """How many processors it may take."""
        return min(self.threads or processors(), processors())

    @property
    def installed(self) -> bool:
        """Whether the package is there that it needs."""
        return find_spec(self.needs) is not None

    def load(self) -> Callable[[Workload, np.ndarray, np.ndarray], Epochs]:
        """Import what it needs."""
        make = getattr(importlib.import_module(f"bench.contestants.{self.module}"), self.function)

        def epochs(w: Workload, X: np.ndarray, y: np.ndarray) -> Epochs:
            made = make(w, X, y, self.threads)
            return made if self.many else lambda count: [made() for _ in range(count)]

        return epochs


OURS = {
    "chainrule, 1 thread": Contestant("ours", 1, function="epochs", many=True),
    "chainrule, 2 threads": Contestant("ours", 2, function="epochs", many=True),
    "chainrule": Contestant("ours", None, function="epochs", many=True),
}

CONTESTANTS = OURS | {
    "PyTorch, 1 thread": Contestant("pytorch", 1, "torch"),
    "PyTorch, 2 threads": Contestant("pytorch", 2, "torch"),
    "PyTorch compile, 1 thread": Contestant("pytorch", 1, "torch", "compiled"),
    "PyTorch compile, 2 threads": Contestant("pytorch", 2, "torch", "compiled"),
    "JAX scan": Contestant("with_jax", None, "jax", "scan"),
    "JAX step": Contestant("with_jax", None, "jax", "step"),
    "scikit-learn": Contestant("scikit_learn", None, "sklearn"),
    "NumPy, 1 thread": Contestant("book", 1),
    "NumPy, 2 threads": Contestant("book", 2),
    "chainrule's reference": Contestant("ours", None, function="reference", many=True),
}
"""Everybody by name; a peer is named by the words before its comma."""

PEERS = ("PyTorch", "JAX", "scikit-learn", "NumPy")
