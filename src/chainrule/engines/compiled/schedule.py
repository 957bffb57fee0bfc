"""From kernels to phases: what a thread can do by itself, and where threads wait for each other.

Some kernels in a row that are shared along the same length, each reading no rows but those that its
thread has written, make a chain: a thread runs all of them for some of its rows, which are still in
the cache, then for the next. Chains that do not wait for each other make a phase. At its end, what
only one thread can do is done by the last one to come there: sums of the threads' sums, and work on
a single row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...graph import ops
from ...graph.leaves import batch
from ...graph.shape import Dim, N
from .kernels import (
    Action,
    Buffer,
    Grains,
    Kernel,
    Line,
    Loop,
    Product,
    Sink,
    Space,
    Turn,
    reduces_across,
    shared_along,
    source_of,
    walked,
)

SMALL = 1024
"""Elements of a product over the batch that is taken in grains, while its operands are in the
cache; the parts of a larger one would cost more than to read the operands again."""


UNSHARED = 0
"""In the place of a length: no thread has whole rows."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Kernels that a thread runs one after the other for some rows of a length."""

    length: Dim
    kernels: list[Kernel]


@dataclass(frozen=True, eq=False)
class Phase:
    """What all threads do at the same time, and then one of them alone."""

    chains: list[Chain] = field(default_factory=list)
    alone: list[Kernel] = field(default_factory=list)

    @property
    def kernels(self) -> list[Kernel]:
        """All its kernels in an order of running."""
        return [*(kernel for chain in self.chains for kernel in chain.kernels), *self.alone]

    def __str__(self) -> str:
        lines = []
        for chain in self.chains:
            lines += [f"  along {chain.length}", *(f"    {kernel}" for kernel in chain.kernels)]
        if self.alone:
            lines += ["  one thread", *(f"    {kernel}" for kernel in self.alone)]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Schedule:
    """The phases of a step, and all buffers, those for parts of sums included."""

    phases: list[Phase]
    buffers: list[Buffer]

    @property
    def kernels(self) -> list[Kernel]:
        """All kernels in an order of running."""
        return [kernel for phase in self.phases for kernel in phase.kernels]

    def __str__(self) -> str:
        return "\n".join(f"phase {i}\n{phase}" for i, phase in enumerate(self.phases, start=1))


def schedule(kernels: Sequence[Kernel], buffers: Sequence[Buffer]) -> Schedule:
    """Each kernel in the first phase in which what it reads is there."""
    made = _Scheduling(buffers)
    for whole in kernels:
        kernel, finish = made.in_grains(whole)
        for part in (kernel, *finish):
            made.add(part)
    return Schedule(made.phases, made.buffers)


class _Scheduling:
    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self.buffers = list(buffers)
        self.phases: list[Phase] = []
        self.made: dict[int, tuple[int, Dim | None]] = {}  # slot → phase, whose rows a thread has

    def add(self, kernel: Kernel) -> None:
        """Put a kernel where it can run first."""
        along = shared_along(kernel)
        number = 0
        for buffer in kernel.reads:
            if buffer.slot in self.made:
                made, other = self.made[buffer.slot]
                own = other == along and (along is None or reads_own_rows(kernel, buffer))
                waits = not own and along is not None
                number = max(number, made + waits)
        while len(self.phases) <= number:
            self.phases.append(Phase())
        rows = along if fills_own_rows(kernel) else UNSHARED
        self.made |= {buffer.slot: (number, rows) for buffer in written(kernel)}
        phase = self.phases[number]
        if along is None:
            phase.alone.append(kernel)
            return
        for chain in phase.chains:
            if chain.length == along:
                chain.kernels.append(kernel)
                return
        phase.chains.append(Chain(along, [kernel]))

    def in_grains(self, kernel: Kernel) -> tuple[Kernel, list[Loop]]:
        """The kernel with its sums across threads taken in grains, and what adds up the parts."""
        along = shared_along(kernel)
        if isinstance(kernel, Loop) and along is not None:
            return self._loop_in_grains(kernel, Grains(along))
        if isinstance(kernel, Product) and kernel.turned and kernel.a.space.rows is N:
            height, width = kernel.into.space.rows, kernel.into.space.columns
            if isinstance(height, int) and isinstance(width, int) and is_small(height, width):
                return self._product_in_grains(kernel, Space(1, Line(height, width)))
        return kernel, []

    def _loop_in_grains(self, loop: Loop, grains: Grains) -> tuple[Loop, list[Loop]]:
        sinks: list[Sink] = []
        finish: list[Loop] = []
        for sink in loop.sinks:
            if not reduces_across(loop.space, sink):
                sinks.append(sink)
                continue
            line = sink.over == "all" or loop.space.rows == 1
            part = self._part(Space(1, grains) if line else Space(grains, loop.space.columns))
            sinks.append(replace(sink, into=part))
            finish.append(_total(sink.action, part, sink.into))
        return replace(loop, sinks=sinks), finish

    def _product_in_grains(self, product: Product, line: Space) -> tuple[Product, list[Loop]]:
        """The result, and each part of it, seen as one line of memory."""
        part = self._part(Space(Grains(N), line.columns))
        finish = _total("sum", part, replace(product.into, space=line))
        return replace(product, into=part, in_grains=True), [finish]

    def _part(self, space: Space) -> Buffer:
        self.buffers.append(Buffer(len(self.buffers), space, "float", "part"))
        return self.buffers[-1]


def _total(action: Action, part: Buffer, into: Buffer) -> Loop:
    """The parts of all grains, combined."""
    value = batch(name="part")
    sink = Sink(action, "columns" if part.space.rows == 1 else "rows", value, into)
    return Loop(part.space, {value: part}, sinks=[sink])


def is_small(*shape: Dim) -> bool:
    """Whether a product of that shape, over the batch, is taken in grains."""
    lengths = [n for n in shape if isinstance(n, int)]
    return len(lengths) == len(shape) and math.prod(lengths) <= SMALL


def written(kernel: Kernel) -> list[Buffer]:
    """The buffers that a kernel fills."""
    return [sink.into for sink in kernel.sinks] if isinstance(kernel, Loop) else [kernel.into]


def touched(kernel: Kernel) -> list[Buffer]:
    """The buffers that a kernel reads or fills."""
    return [*kernel.reads, *written(kernel)]


def fills_own_rows(kernel: Kernel) -> bool:
    """Whether a kernel, for some rows, fills just those rows: a turn fills columns."""
    return not isinstance(kernel, Turn)


def reads_own_rows(kernel: Kernel, buffer: Buffer) -> bool:
    """Whether a kernel, for some rows, reads just those rows of a buffer."""
    match kernel:
        case Loop(space=space):
            if any(buffer.slot == table.slot for table in _tables(kernel)):
                return False
            own = walked(buffer.space) if space.rows == 1 else buffer.space
            same = own.columns == space.columns if space.rows == 1 else own.rows == space.rows
            return same and (own.rows == 1) == (space.rows == 1)
        case Product(b=b, in_grains=in_grains):
            return in_grains or (not kernel.turned and buffer.slot != b.slot)
    return True


def _tables(loop: Loop) -> list[Buffer]:
    """What a loop takes rows from by their numbers."""
    takes = [node for node in loop.body if node.op is ops.take]
    return [loop.loads[source_of(node.inputs[0])] for node in takes]
