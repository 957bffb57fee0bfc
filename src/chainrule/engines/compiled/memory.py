"""How values lie in memory: rows of whole vectors, 4 bytes a number."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...graph.shape import Free
from ...graph.tensor import Array, Tensor
from ...locks import cached_property
from .kernels import Grains, Length, Line, Space
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


FEWEST_IN_A_GRAIN = 8
"""Rows: what is summed in grains costs more the fewer there are in each. With 4 a step of 784-50-10
takes 2 % longer."""


def grain(rows: int) -> int:
    """How many rows a thread sums at one go, an even number, whatever the number of threads: rows
    that are too few for a tile are multiplied by two."""
    return max(FEWEST_IN_A_GRAIN, 2 * math.ceil(rows / (2 * MOST_GRAINS)))


@dataclass(frozen=True)
class Lengths:
    """What lengths are, in a use of a program: of a batch, and of all widths, as they were where it
    was compiled and as they are here; None where they are the same."""

    batch: int = 0
    widths: tuple[tuple[int, int], ...] | None = None

    @cached_property
    def _here(self) -> dict[int, int]:
        return dict(self.widths or ())

    def of(self, n: Length) -> int:
        """A number of rows or columns."""
        match n:
            case Grains():
                whole = self.of(n.of)
                return math.ceil(whole / grain(whole))
            case Line():
                return self.of(n.rows) * self.stride(n.columns)
            case Free():
                return self.batch
        return n if n == 1 or self.widths is None else self._here[n]

    def stride(self, columns: Length) -> int:
        """The distance of rows: whole vectors, and not a multiple of a page; 1 for a single column.

        Only for what is a single column by its type: code that is for N columns stores whole
        vectors, and a batch of 1 must have room for them.
        """
        if columns == 1:
            return 1
        padded = math.ceil(self.of(columns) / host().lanes) * host().lanes
        return padded + host().lanes if padded * 4 % PAGE == 0 else padded

    def size(self, space: Space) -> int:
        """The numbers that a space takes; a last vector may reach past its end."""
        return self.of(space.rows) * self.stride(space.columns) + host().lanes

    def elements(self, memory: Array, space: Space) -> Array:
        """The rows and columns of a space as a view of its memory."""
        rows, step = self.of(space.rows), self.stride(space.columns)
        return memory[: rows * step].reshape(rows, step)[:, : self.of(space.columns)]


FIXED = Lengths()
"""For what has no rows of a batch, in a program of its own."""


def start_of(array: Array) -> int:
    """Where memory is that `allocate` gave; `array.ctypes.data` takes three times as long, and a
    trial of a search asks for some fifty."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]


def allocate(sizes: Sequence[int]) -> list[Array]:
    """Zeros for so many numbers each, in one block, each from the start of a cache line."""
    return allocate_in_turn([sizes])[0]


def allocate_in_turn(groups: Sequence[Sequence[int]]) -> list[list[Array]]:
    """The same for groups of which one at a time is in use: all lie in one block."""
    line, places, most = CACHE_LINE // 4, [], 0
    for sizes in groups:
        at, starts = 0, []
        for n in sizes:
            starts.append(at)
            at += -(-n // line) * line
        places.append(starts)
        most = max(most, at)
    memory = np.zeros(most + line, np.float32)
    memory = memory[-start_of(memory) % CACHE_LINE // 4 :]
    return [
        [memory[at : at + n] for at, n in zip(starts, sizes, strict=True)]
        for starts, sizes in zip(places, groups, strict=True)
    ]
