"""What each thread of a run has for itself: addresses of buffers, and windows of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .memory import allocate_in_turn, start_of


@dataclass(frozen=True)
class Window:
    """Memory for the rows of a buffer that a thread is at.

    Buffers of a chain with the same `place` lie in the same memory, `size` numbers of it.
    """

    slot: int
    stride: int
    place: int
    size: int


class ThreadMemory:
    """A thread's own table of addresses, which the driver fills, and its windows for each chain."""

    def __init__(self, slots: int, chains: Sequence[Sequence[Window]]) -> None:
        self.own_slots = np.zeros(slots, np.int64)
        sizes = [{w.place: w.size for w in windows} for windows in chains]
        self._arrays = allocate_in_turn([list(by_place.values()) for by_place in sizes])
        rows = [
            (w.slot, start_of(arrays[w.place]), 4 * w.stride)
            for windows, arrays in zip(chains, self._arrays, strict=True)
            for w in windows
        ]
        self.windows = np.array(rows, np.int64).reshape(-1, 3)
        """An entry each: its slot, its address, and the bytes of a row."""
