"""What differs from step to step beside the rows: uniform values, and random keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...graph import ops, random
from ...graph.evaluate import Plan, initial_value
from ...graph.tensor import Array, Tensor
from ..program import Feed
from .call import Number


class Tables:
    """Which nodes have a value a step, and a plan that computes them."""

    def __init__(self, numbers: Sequence[Number]) -> None:
        self.uniforms = list(dict.fromkeys(x for kind, x in numbers if kind == "uniform"))
        self.random = list(dict.fromkeys(x for kind, x in numbers if kind == "key"))
        words = [x for node in self.random for x in node.inputs]
        self._plan = Plan([*self.uniforms, *words], "float64")

    def place(self, kind: str, node: Tensor) -> int:
        """Where in a step's row of its table the value of a node is."""
        return self.uniforms.index(node) if kind == "uniform" else 2 * self.random.index(node)

    def values(self, feed: Feed, rows: Array, here: Mapping[Tensor, Tensor]) -> tuple[Array, Array]:
        """Both tables, a row a step, for batches of those numbers of rows; `here` says which leaf
        of the feed stands for which.

        The reference's own functions compute them, for all steps at once, in float64.
        """
        given = {
            leaf: feed.scalars[own] if own in feed.scalars else initial_value(own)
            for leaf, own in ((leaf, here.get(leaf, leaf)) for leaf in self._plan.leaves)
            if leaf.op is not ops.rows
        }
        values = self._plan.run(given, rows)
        count = len(self.uniforms)
        uniforms = np.empty((len(rows), count))
        for i, value in enumerate(values[:count]):
            uniforms[:, i] = value
        keys = np.empty((len(rows), 2 * len(self.random)), np.uint32)
        words = [value.astype(np.uint64) for value in values[count:]]
        for i, node in enumerate(self.random):
            own = random.keys(words[2 * i], words[2 * i + 1], node.attrs["stream"])
            keys[:, 2 * i], keys[:, 2 * i + 1] = own
        return uniforms, keys
