"""Which buffers lie in the memory of others: less of it is used, and more rows fit the cache.

A thread runs all kernels of a chain for some rows, then for the next. So what has a row for each of
the chain's may lie where something else did of which nobody will read those rows any more.
"""

from __future__ import annotations

from collections.abc import Set

from .in_place import element_by_element
from .kernels import Buffer, Kernel, Loop
from .lower import Lowered
from .schedule import Chain, Schedule, fills_own_rows, reads_own_rows, touched, written


def shared_memory(lowered: Lowered, schedule: Schedule) -> dict[int, int]:
    """For buffers by slot, the slot of the one in whose memory they lie."""
    named = (*lowered.leaves.values(), *lowered.updates.values(), *lowered.outputs)
    kept = {buffer.slot for buffer in named}
    found: dict[int, int] = {}
    for phase in schedule.phases:
        for chain in phase.chains:
            others = [kernel for kernel in schedule.kernels if kernel not in chain.kernels]
            found |= _within(chain, kept, kept | {b.slot for k in others for b in touched(k)})
    return found


def _within(chain: Chain, fixed: Set[int], needed: Set[int]) -> dict[int, int]:
    """What a chain fills and may lay over what else it has filled.

    `fixed` buffers have a place of their own; those that are `needed` are read by somebody else.
    """
    last = {b.slot: j for j, kernel in enumerate(chain.kernels) for b in touched(kernel)}
    readers = [(kernel, b) for kernel in chain.kernels for b in kernel.reads]
    stays = needed | {b.slot for kernel, b in readers if not reads_own_rows(kernel, b)}
    lies: dict[int, tuple[Buffer, int]] = {}
    """In each place by slot, which buffer lies there, and the kernel that has filled it."""
    found = {}
    for j, kernel in enumerate(chain.kernels):
        for new in written(kernel):
            if new.slot in fixed or not _has_rows(kernel, new, chain):
                continue
            free = (
                place
                for place, (old, made) in lies.items()
                if old.space == new.space
                and old.slot not in stays
                and made < j
                and (
                    last[old.slot] < j or (last[old.slot] == j and _is_read_first(kernel, new, old))
                )
            )
            place = next(free, new.slot)
            lies[place] = new, j
            if place != new.slot:
                found[new.slot] = place
    return found


def _has_rows(kernel: Kernel, buffer: Buffer, chain: Chain) -> bool:
    space = buffer.space
    return fills_own_rows(kernel) and space.rows == chain.length and space.columns != 1


def _is_read_first(kernel: Kernel, new: Buffer, old: Buffer) -> bool:
    return isinstance(kernel, Loop) and element_by_element(kernel, new, old)
