"""Which leaves may be updated where they lie: half the memory, and half the lines to write."""

from __future__ import annotations

from collections.abc import Iterator

from ...graph.tensor import Tensor
from .kernels import Buffer, Kernel, Loop, Turn
from .lower import Lowered
from .schedule import Schedule, reads_own_rows, written


def updated_in_place(lowered: Lowered, schedule: Schedule, watched: Buffer | None) -> set[Tensor]:
    """The leaves of which all is read before it is overwritten, in a step that is known to hold.

    The others get their new value from a buffer that is swapped with theirs at the end.
    """
    order = list(_places(schedule))
    made = {b.slot: place for place, kernel in order for b in written(kernel)}
    turned = {b.slot for _, kernel in order for b in written(kernel) if isinstance(kernel, Turn)}
    begins = -1 if watched is None else made[watched.slot][0]
    shown = {buffer.slot for buffer in lowered.outputs}
    found = set()
    for leaf, new in lowered.updates.items():
        old = lowered.leaves[leaf]
        phase, chain, _ = made[new.slot]
        readers = [(place, k) for place, k in order if old.slot in {b.slot for b in k.reads}]
        free = old.slot not in shown and phase > begins and chain is not None
        if new.slot in turned:  # it fills columns, of which others may still need the rows
            free = free and all(place[0] < phase for place, _ in readers)
        if free and all(_is_before(made[new.slot], new, place, k, old) for place, k in readers):
            found.add(leaf)
    return found


Place = tuple[int, int | None, int]
"""The number of a phase, of a chain (None: one thread's), and of a kernel."""


def _places(schedule: Schedule) -> Iterator[tuple[Place, Kernel]]:
    for number, phase in enumerate(schedule.phases):
        for i, chain in enumerate(phase.chains):
            for j, kernel in enumerate(chain.kernels):
                yield (number, i, j), kernel
        for j, kernel in enumerate(phase.alone):
            yield (number, None, j), kernel


def _is_before(writes: Place, new: Buffer, reads: Place, kernel: Kernel, old: Buffer) -> bool:
    """Whether a kernel has read what the update overwrites."""
    if reads[0] != writes[0]:
        return reads[0] < writes[0]
    if reads[1] != writes[1]:
        return False
    if reads[2] == writes[2]:
        return isinstance(kernel, Loop) and element_by_element(kernel, new, old)
    return reads[2] < writes[2] and reads_own_rows(kernel, old) and not isinstance(kernel, Turn)


def element_by_element(loop: Loop, new: Buffer, old: Buffer) -> bool:
    """Whether a loop reads each element of a buffer just before it stores the new one."""
    stores = [sink for sink in loop.sinks if sink.into.slot == new.slot]
    whole = all(b.space == loop.space for b in loop.loads.values() if b.slot == old.slot)
    return whole and reads_own_rows(loop, old) and all(sink.over == "nothing" for sink in stores)
