"""A compiled program for batches of one size and certain widths: its kernels' numbers, and the
driver's lists."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ...graph.shape import Free, N
from ...graph.tensor import Array
from .call import CONTEXT, OF_DATA
from .compiled_program import CompiledProgram
from .kernels import Buffer, Grains, Kernel, Length, Loop, Product, Space, lies_over, walked
from .memory import Lengths, grain
from .native import host
from .request import Request, entries
from .schedule import Chain, touched
from .thread_memory import Window

CACHE = 256 * 1024
"""Bytes of a chain's buffers that a thread works on before it goes on to other rows: a half or a
quarter of a core's own cache on most processors."""

FEWEST_ROWS = 128
"""Rows at a time all the same: a product reads all of b again for each of them. With 128 a thread
has its half of a batch of 256 at one go; with 96 784-1024-1024-10 takes 5 % longer."""

ALL = 2**62
"""A grain that has all rows, where one thread does the work."""

MOST_SIZES = 64
"""Sizes that are kept: each has some kilobytes of numbers."""


class SizedProgram:
    """Numbers that depend on lengths; nothing in it changes any more."""

    def __init__(self, compiled: CompiledProgram, lengths: Lengths) -> None:
        self.compiled, self.lengths = compiled, lengths
        numbers = [[self._number(*number) for number in own] for _, own in compiled.code]
        self.functions = np.array([function.address for function, _ in compiled.code], np.int64)
        self.numbers = np.array([number for own in numbers for number in own], np.int64)
        """Those of all kernels, one kernel after the other."""
        self.first = np.cumsum([0, *map(len, numbers)])[:-1]
        """Where a kernel's own numbers begin."""
        self.of_data = [
            (place, kind, what.slot)
            for place, (kind, what) in enumerate(n for _, own in compiled.code for n in own)
            if kind in OF_DATA
        ]
        """Which numbers are others where rows of the data are marked, or read in their place."""
        held = {b.slot for b in compiled.state.values()} | {new for _, new in compiled.aliases}
        others = held | compiled.reuse.shared.keys() | compiled.reuse.in_windows.keys()
        used = {b.slot for kernel in compiled.kernels for b in touched(kernel)}
        used |= {b.slot for _, b in compiled.constants}
        own = [b for b in compiled.buffers if b.slot in used - others]
        self.sizes = {b.slot: lengths.size(b.space) for b in own}
        """Of all buffers in use, but those of the state, which the engine's memory has, those that
        lie in the memory of others, and those of which each thread has a window."""
        self.work = sum(map(self._work_a_row, compiled.kernels))
        """About how many operations a step makes for a row of the batch."""
        self.windows: list[list[Window]] = []
        """Those of each chain, in the order of the driver's list."""
        phases, chains = self._plan()
        self.lists: dict[str, Array | int] = {
            "phases": entries(phases, 3),
            "chains": entries(chains, 7),
            "scalars": entries([(compiled.shown[name].slot,) for name in compiled.scalars], 1),
            "swaps": entries(compiled.swaps, 2),
            "watched": compiled.watched,
            "checked": compiled.checked,
            "batch": lengths.batch,
            "grain": grain(lengths.batch),
            "counting": _counting(max(map(self._longest, compiled.kernels), default=0)),
        }
        self.request = Request()
        """What all runs are asked for."""
        self.request.set(**self.lists)

    def form(self, buffer: Buffer) -> tuple[int, int]:
        """The stride and the columns of a buffer."""
        columns = buffer.space.columns
        return self.lengths.stride(columns), self.lengths.of(columns)

    def _number(self, kind: str, what: Any) -> int:
        """One of a kernel's own numbers."""
        match kind:
            case "slot":
                return int(what.slot)
            case "stride" | "row length":
                return self.form(what)[0]
            case "length":
                return self._length(what)
            case "rows":
                return self._length(what.space.rows)
            case "grain":
                return self._grain(what)
            case "last row":
                return self.lengths.of(what.space.rows) - 1
            case "number":
                return int(what)
            case "data" | "ordered" | "marks" | "marks stride":
                return 0  # until there is a feed
        return self.compiled.tables.place(kind, what)

    def _length(self, n: Length) -> int:
        """A length, or below 0 where the context has it."""
        varies = {N: "rows", Grains(N): "grains"}
        return -CONTEXT.index(varies[n]) if n in varies else self.lengths.of(n)

    def _grain(self, along: Length | None) -> int:
        if along is N:
            return -CONTEXT.index("grain")
        return ALL if along is None else grain(self.lengths.of(along))

    def _longest(self, kernel: Kernel) -> int:
        """The largest number of a row or column that a product counts to."""
        if not isinstance(kernel, Product):
            return 0
        return max(map(self.lengths.of, (kernel.a.space.rows, kernel.a.space.columns)))

    def _work_a_row(self, kernel: Kernel) -> float:
        of = self.lengths.of
        match kernel:
            case Product(a=a, b=b) if N in (a.space.rows, a.space.columns):
                lengths = (a.space.columns, b.space.columns)
                return 2.0 * math.prod(of(n) for n in lengths if n is not N)
            case Loop(space=Space(rows=Free(), columns=columns)):
                return float(of(columns) * len(kernel.body))
        return 0.0

    def _plan(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """The driver's lists of phases and chains; what is for one thread is a chain by itself."""
        phases: list[tuple[int, ...]] = []
        chains: list[tuple[int, ...]] = []
        call = 0
        for phase in self.compiled.phases:
            first = len(chains)
            for chain in phase.chains:
                end = call + len(chain.kernels)
                form = self._length(chain.length), self._grain(chain.length)
                rows, first_window = self._rows_at_once(chain), sum(map(len, self.windows))
                self.windows.append(self._windows(chain, rows))
                windows = first_window, first_window + len(self.windows[-1])
                chains.append((*form, rows, call, end, *windows))
                call = end
            alone = len(chains)
            for kernel in phase.alone:
                chains.append((self._length(lies_over(kernel)), ALL, ALL, call, call + 1, 0, 0))
                call += 1
            phases.append((first, alone, len(chains)))
        return phases, chains

    def _rows_at_once(self, chain: Chain) -> int:
        """As many rows as the cache has room for, in whole grains."""
        shared = self.compiled.reuse.shared
        used = [b for kernel in chain.kernels for b in touched(kernel)]
        buffers = {shared.get(b.slot, b.slot): b for b in used}
        of_rows = [walked(b.space) for b in buffers.values()]
        bytes_a_row = sum(
            4 if space.rows == 1 else 4 * self.lengths.stride(space.columns)
            for space in of_rows
            if chain.length in (space.rows, space.columns if space.rows == 1 else None)
        )
        unit = grain(self.lengths.of(chain.length))
        return max(1, max(FEWEST_ROWS, CACHE // max(bytes_a_row, 1)) // unit) * unit

    def _windows(self, chain: Chain, rows: int) -> list[Window]:
        """Memory for that many rows at most; buffers that share it have the same place."""
        reuse, rows = self.compiled.reuse, min(rows, self.lengths.of(chain.length))
        places: dict[int, int] = {}
        found = []
        for buffer in reuse.windows[chain]:
            place = places.setdefault(reuse.shared.get(buffer.slot, buffer.slot), len(places))
            stride, _ = self.form(buffer)
            found.append(Window(buffer.slot, stride, place, rows * stride + host().lanes))
        return found


def _counting(numbers: int) -> Array:
    """0, 1, 2, …; as many, or more."""
    return _counted(numbers.bit_length())


@functools.cache
def _counted(bits: int) -> Array:
    numbers = np.arange(2**bits, dtype=np.int64)
    numbers.flags.writeable = False
    return numbers


@functools.lru_cache(MOST_SIZES)
def sized_program(compiled: CompiledProgram, lengths: Lengths) -> SizedProgram:
    """Made now, or by somebody before."""
    return SizedProgram(compiled, lengths)
