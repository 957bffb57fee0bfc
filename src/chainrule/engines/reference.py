"""The reference engine: the NumPy meaning of every node, one node at a time."""

import time

import numpy as np

from ..graph import random
from ..graph import shape as shapes
from ..graph.evaluate import Plan
from ..graph.tensor import Array, Tensor
from .program import Feed, Outputs, Program


class ReferenceEngine:
    """The specification, the debugger and the fallback: slow, and easy to be sure of.

    It leaves the number of threads to NumPy's matrix library.
    """

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = dtype
        self.unlocked_seconds = 0.0
        self._memory: dict[Tensor, Array] = {}
        self._plans: dict[Program, Plan] = {}

    def read(self, leaf: Tensor) -> Array:
        """A copy of the value of a state leaf."""
        return self._memory[leaf].copy()

    def write(self, leaf: Tensor, value: Array) -> None:
        """Set the value of a state leaf, rounded to the engine's precision."""
        self._memory[leaf] = np.array(value, self.dtype).reshape(shapes.resolve(leaf.shape, None))

    def is_finite(self, leaf: Tensor) -> bool:
        """Whether all numbers of a state leaf are."""
        return bool(np.isfinite(self._memory[leaf]).all())

    def run(self, program: Program, feed: Feed) -> Outputs:
        """Run the program over the rows of the feed, updating the memory at every step."""
        began = time.thread_time()
        outputs = self._run(program, feed)
        self.unlocked_seconds += time.thread_time() - began  # most of it, where arrays are large
        return outputs

    def _run(self, program: Program, feed: Feed) -> Outputs:
        if program not in self._plans:
            self._plans[program] = Plan(program.results, self.dtype)
        plan = self._plans[program]
        collected: dict[str, list[Array]] = {name: [] for name in program.outputs}
        stop = 0
        for step, size in enumerate(feed.sizes.tolist()):
            start, stop = stop, stop + size
            rows = slice(start, stop) if feed.order is None else feed.order[start:stop]
            scalars = {
                leaf: value[step] if isinstance(value, np.ndarray) else value
                for leaf, value in feed.scalars.items()
            }
            batch = {leaf: column[rows] for leaf, column in feed.data.items()}
            values = plan.run(self._memory | batch | scalars, size)
            outputs = dict(zip(program.outputs, values, strict=False))
            if program.watched and not np.isfinite(outputs[program.watched]):
                break
            for name, value in outputs.items():
                collected[name].append(value)
            new_state = values[len(outputs) :]
            # One call, so that an interruption finds all the updates of a step made, or none.
            self._memory.update(zip(program.updates, new_state, strict=True))
        return {name: _joined(program.outputs[name], values) for name, values in collected.items()}

    def orders(self, rows: int, seed: int, epochs: range) -> Array:
        """The orders in which epochs take the rows."""
        return random.orders(rows, seed, epochs)

    def use_threads(self, threads: int | None) -> None:
        """NumPy has threads of its own."""

    def explain(self, program: Program) -> str:
        """The graph: it is run as it is, one node at a time."""
        return f"graph\n\n{program}"


def _joined(output: Tensor, values: list[Array]) -> Array:
    if output.shape == ():
        return np.array(values)
    return np.concatenate(values) if values else np.zeros((0, *shapes.resolve(output.shape[1:], 0)))
