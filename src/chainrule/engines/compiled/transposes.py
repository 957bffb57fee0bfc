"""Weights that a step reads transposed are kept so, rather than turned at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...graph import ops
from ...graph.leaves import STATE_OPS, state
from ...graph.tensor import Tensor
from ...graph.walk import toposort


@dataclass(frozen=True, eq=False)
class Kept:
    """A step that reads leaves which are transposes of others, and updates both."""

    outputs: list[Tensor]
    updates: dict[Tensor, Tensor]
    transposes: dict[Tensor, Tensor]
    """The leaf that is kept, and of which one it is the transpose."""


def keep_transposes(outputs: Sequence[Tensor], updates: Mapping[Tensor, Tensor]) -> Kept:
    """Wᵀ becomes a leaf of its own, updated to the transpose of what W is updated to.

    W's new rows are still in the cache when they are turned, and no thread waits for others to do
    so before it goes backwards.
    """
    order = toposort([*outputs, *updates.values()])
    kept = {
        node: state(np.zeros(()), shape=_fixed(node), name=f"{node.inputs[0].name}ᵀ")
        for node in order
        if node.op is ops.transpose and node.inputs[0].op in STATE_OPS and node.inputs[0] in updates
    }
    done: dict[Tensor, Tensor] = dict(kept)
    for node in order:
        if node not in done:
            inputs = tuple(done[x] for x in node.inputs)
            same = inputs == node.inputs
            done[node] = (
                node if same else Tensor(node.op, inputs, node.attrs, node.shape, node.dtype)
            )
    changed = {leaf: done[value] for leaf, value in updates.items()}
    transposes = {leaf: node.inputs[0] for node, leaf in kept.items()}
    turned = {leaf: ops.transpose(changed[W]) for leaf, W in transposes.items()}
    return Kept([done[node] for node in outputs], changed | turned, transposes)


def _fixed(node: Tensor) -> tuple[int, ...]:
    return tuple(n for n in node.shape if isinstance(n, int))
