"""How values lie in memory: rows of whole vectors, 4 bytes a number."""

from __future__ import annotations

import math

import numpy as np

from ...graph.shape import Free
from ...graph.tensor import Array, Tensor
from .kernels import Grains, Length, Space
from .native import host


class Memory:
    """The arrays of state leaves, and how often they have been changed."""

    def __init__(self) -> None:
        self.arrays: dict[Tensor, Array] = {}
        self.changes = 0


PAGE = 4096
"""Rows at a distance of a multiple of it fall on the same lines of the cache: at 1,024 columns a
product then takes twice as long."""

CACHE_LINE = 64


MOST_GRAINS = 64
"""Enough to share them evenly; more would cost more to add up."""


def length(n: Length, batch: int) -> int:
    """A number of rows or columns, for batches of that many rows."""
    if isinstance(n, Grains):
        whole = length(n.of, batch)
        return math.ceil(whole / grain(whole))
    return batch if isinstance(n, Free) else n


def grain(rows: int) -> int:
    """How many rows a thread sums at one go: whole tiles, whatever the number of threads."""
    tile = host().tile[0]
    return tile * max(1, math.ceil(rows / (tile * MOST_GRAINS)))


def stride(columns: Length, batch: int = 0) -> int:
    """The distance of rows: whole vectors, and not a multiple of a page; 1 for a single column.

    Only for what is a single column by its type: code that is for N columns stores whole vectors,
    and a batch of 1 must have room for them.
    """
    if columns == 1:
        return 1
    padded = math.ceil(length(columns, batch) / host().lanes) * host().lanes
    return padded + host().lanes if padded * 4 % PAGE == 0 else padded


def allocate(space: Space, batch: int) -> Array:
    """Zeros for a space, from the start of a cache line; a last vector may reach past the end."""
    size = length(space.rows, batch) * stride(space.columns, batch) + host().lanes
    spare = CACHE_LINE // 4
    memory = np.zeros(size + spare, np.float32)
    start = -memory.ctypes.data % CACHE_LINE // 4
    return memory[start : start + size]


def elements(memory: Array, space: Space, batch: int) -> Array:
    """The rows and columns of a space as a view of its memory."""
    rows, columns = length(space.rows, batch), length(space.columns, batch)
    step = stride(space.columns, batch)
    return memory[: rows * step].reshape(rows, step)[:, :columns]
