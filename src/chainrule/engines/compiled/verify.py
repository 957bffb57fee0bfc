"""What must hold after each pass; a mistake of the compiler is found here, not in a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...graph.leaves import input_op
from ...graph.tensor import Tensor
from .kernels import Kernel, shared_along, walked
from .lower import Lowered
from .reuse import Reuse
from .schedule import Schedule, fills_own_rows, reads_own_rows, touched, written


class CompilerError(AssertionError):
    """A pass has broken the program."""


def same_results(before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
    """A graph gives as many results as before, of the same shapes and types."""
    if len(before) != len(after):
        raise CompilerError(f"{len(before)} results became {len(after)}")
    for a, b in zip(before, after, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise CompilerError(f"{a!r} became {b!r}")


def kernels(lowered: Lowered) -> None:
    """Each buffer is filled once, before anything reads it."""
    filled = {b.slot for leaf, b in lowered.leaves.items() if leaf.op is not input_op}
    for kernel in lowered.kernels:
        _reads(kernel, filled)
        _fills(kernel, filled)
    for buffer in (*lowered.outputs, *lowered.updates.values()):
        if buffer.slot not in filled:
            raise CompilerError(f"nothing fills {buffer}")


def phases(lowered: Lowered, schedule: Schedule) -> None:
    """All kernels are there, and a thread waits for what it reads of others."""
    extra = len(schedule.kernels) - len(lowered.kernels)
    parts = len(schedule.buffers) - len(lowered.buffers)
    if extra != parts:
        raise CompilerError(f"{extra} kernels were added for {parts} parts of sums")
    filled = {b.slot for leaf, b in lowered.leaves.items() if leaf.op is not input_op}
    for phase in schedule.phases:
        now: set[int] = set()
        for chain in phase.chains:
            own: set[int] = set()
            for kernel in chain.kernels:
                if shared_along(kernel) != chain.length:
                    raise CompilerError(f"{kernel} along {chain.length}")
                mine = {b.slot for b in kernel.reads if reads_own_rows(kernel, b)}
                _reads(kernel, filled | (own & mine))
                _fills(kernel, own if fills_own_rows(kernel) else now)
            now |= own
        filled |= now
        for kernel in phase.alone:
            if shared_along(kernel) is not None:
                raise CompilerError(f"one thread does {kernel}")
            _reads(kernel, filled)
            _fills(kernel, filled)
    for buffer in (*lowered.outputs, *lowered.updates.values()):
        if buffer.slot not in filled:
            raise CompilerError(f"nothing fills {buffer}")


def memory(lowered: Lowered, schedule: Schedule, reuse: Reuse) -> None:
    """What is read of memory that several buffers share is what was written last, and what lies in
    a window is read while its rows are at hand."""
    shared = reuse.shared
    for new, old in shared.items():
        buffer, place = schedule.buffers[new], schedule.buffers[old]
        if buffer.space != place.space:
            raise CompilerError(f"{buffer} does not fit the memory of {place}")
    lies: dict[int, int] = {}
    for kernel in schedule.kernels:
        for buffer in kernel.reads:
            if lies.get(shared.get(buffer.slot, buffer.slot), buffer.slot) != buffer.slot:
                raise CompilerError(f"{kernel} reads {buffer}, where something else lies by now")
        lies |= {shared.get(b.slot, b.slot): b.slot for b in written(kernel)}
    _windows(lowered, schedule, reuse)


def _windows(lowered: Lowered, schedule: Schedule, reuse: Reuse) -> None:
    inside = reuse.in_windows
    for new, old in reuse.shared.items():
        if inside.get(new) is not inside.get(old):
            raise CompilerError(f"{schedule.buffers[new]} and {schedule.buffers[old]} lie apart")
    for kernel in schedule.kernels:
        for buffer in touched(kernel):
            chain = inside.get(buffer.slot)
            if chain is None:
                continue
            space = walked(buffer.space)  # a column may be read as a line
            length = space.columns if space.rows == 1 else space.rows
            if length != chain.length or kernel not in chain.kernels:
                raise CompilerError(f"{kernel} has no window of {buffer}")
            if buffer in kernel.reads and not reads_own_rows(kernel, buffer):
                raise CompilerError(f"{kernel} reads more of {buffer} than the rows at hand")
            if buffer in written(kernel) and not fills_own_rows(kernel):
                raise CompilerError(f"{kernel} fills more of {buffer} than the rows at hand")
    state = [b for leaf, b in lowered.leaves.items() if leaf.op is not input_op]
    for buffer in (*state, *lowered.outputs, *lowered.updates.values()):
        if buffer.slot in inside:
            raise CompilerError(f"{buffer} is needed after its rows were at hand")


def _reads(kernel: Kernel, filled: Iterable[int]) -> None:
    for buffer in kernel.reads:
        if buffer.slot not in filled:
            raise CompilerError(f"{kernel} reads {buffer}, which is not filled yet")


def _fills(kernel: Kernel, filled: set[int]) -> None:
    for buffer in written(kernel):
        if buffer.slot in filled:
            raise CompilerError(f"{kernel} fills {buffer} again")
        filled.add(buffer.slot)
