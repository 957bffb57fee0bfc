"""How values lie in memory: rows of whole vectors, 4 bytes a number."""

from __future__ import annotations

import math

import numpy as np

from ...graph.shape import Dim, Free
from ...graph.tensor import Array
from .kernels import Space
from .native import host

PAGE = 4096
"""Rows at a distance of a multiple of it fall on the same lines of the cache: at 1,024 columns a
product then takes twice as long."""

CACHE_LINE = 64


def length(n: Dim, capacity: int) -> int:
    """A number of rows or columns, for batches of up to `capacity` rows."""
    return capacity if isinstance(n, Free) else n


def stride(columns: int) -> int:
    """The distance of rows: whole vectors, and not a multiple of a page; 1 for a single column."""
    if columns == 1:
        return 1
    padded = math.ceil(columns / host().lanes) * host().lanes
    return padded + host().lanes if padded * 4 % PAGE == 0 else padded


def allocate(space: Space, capacity: int) -> Array:
    """Zeros for a space, from the start of a cache line; a last vector may reach past the end."""
    size = length(space.rows, capacity) * stride(length(space.columns, capacity)) + host().lanes
    spare = CACHE_LINE // 4
    memory = np.zeros(size + spare, np.float32)
    start = -memory.ctypes.data % CACHE_LINE // 4
    return memory[start : start + size]


def elements(memory: Array, space: Space, capacity: int) -> Array:
    """The rows and columns of a space as a view of its memory."""
    rows, columns = length(space.rows, capacity), length(space.columns, capacity)
    step = stride(columns)
    return memory[: rows * step].reshape(rows, step)[:, :columns]
