"""Which buffers need memory of their own: less of it is used, and more of it stays in the cache.

A thread runs all kernels of a chain for some rows, then for the next. What has a row for each of
the chain's may lie where something else did of which nobody will read those rows any more. And if
nobody else reads it at all, it needs no more than a window: memory for the rows that a thread is
at, which stay in its cache from one part of the batch to the next. Rows of the data that products
alone read need none, where the data are such as products read.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from ...graph.leaves import input_op
from ...locks import cached_property
from .in_place import element_by_element
from .kernels import Buffer, Gather, Kernel, Loop, Product
from .lower import Lowered
from .schedule import Chain, Schedule, fills_own_rows, reads_own_rows, touched, written


@dataclass(frozen=True, eq=False)
class Reuse:
    """Buffers by slot with the slot of the one in whose memory they lie; and each chain's buffers
    of which a thread has a window."""

    shared: dict[int, int] = field(default_factory=dict)
    windows: dict[Chain, list[Buffer]] = field(default_factory=dict)
    for_products: set[int] = field(default_factory=set)
    """Rows of the batch, by slot, that products can read where they lie in the data."""

    @cached_property
    def in_windows(self) -> dict[int, Chain]:
        """The chain of each buffer that lies in a window, by slot."""
        return {b.slot: chain for chain, buffers in self.windows.items() for b in buffers}


def reuse(lowered: Lowered, schedule: Schedule) -> Reuse:
    """What can be reused in a program."""
    leaves = (buffer for leaf, buffer in lowered.leaves.items() if leaf.op is not input_op)
    fixed = {b.slot for b in (*leaves, *lowered.updates.values(), *lowered.outputs)}
    found = Reuse()
    for phase in schedule.phases:
        for chain in phase.chains:
            others = [kernel for kernel in schedule.kernels if kernel not in chain.kernels]
            stays = fixed | {b.slot for kernel in others for b in touched(kernel)}
            stays |= {
                buffer.slot
                for kernel in chain.kernels
                for buffer in kernel.reads
                if not reads_own_rows(kernel, buffer)
            }
            shared = _shared(chain, fixed, stays)
            found.shared.update(shared)
            found.windows[chain] = _windows(chain, stays, shared)
    found.for_products.update(_for_products(lowered, schedule) - found.in_windows.keys())
    return found


def _for_products(lowered: Lowered, schedule: Schedule) -> set[int]:
    """Rows of the batch that products alone read, as their first operand."""
    rows = {k.into.slot: k.into.space for k in schedule.kernels if isinstance(k, Gather)}
    found = {slot for slot, space in rows.items() if space.columns != 1}
    for kernel in schedule.kernels:
        read = kernel.reads
        if isinstance(kernel, Product) and kernel.a.space == rows.get(kernel.a.slot):
            read = [kernel.b]
        found -= {buffer.slot for buffer in read}
    return found - {buffer.slot for buffer in lowered.outputs}


def _shared(chain: Chain, fixed: Set[int], stays: Set[int]) -> dict[int, int]:
    """What a chain fills and may lay over what else it has filled.

    `fixed` buffers have a place of their own; in those that stay, nothing else may lie later.
    """
    last = {b.slot: j for j, kernel in enumerate(chain.kernels) for b in touched(kernel)}
    lies: dict[int, tuple[Buffer, int]] = {}
    """In each place by slot, which buffer lies there, and the kernel that has filled it."""
    found = {}
    for j, kernel in enumerate(chain.kernels):
        if isinstance(kernel, Gather):
            continue
        for new in written(kernel):
            if new.slot in fixed or not _has_rows(kernel, new, chain) or new.space.columns == 1:
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


def _windows(chain: Chain, stays: Set[int], shared: dict[int, int]) -> list[Buffer]:
    """What only this chain needs, in places where nothing stays."""
    filled = {b.slot: (b, kernel) for kernel in chain.kernels for b in written(kernel)}
    passing = {
        slot
        for slot, (b, kernel) in filled.items()
        if slot not in stays and _has_rows(kernel, b, chain)
    }
    taken = {shared.get(slot, slot) for slot in filled.keys() - passing}
    return [filled[slot][0] for slot in filled if shared.get(slot, slot) not in taken]


def _has_rows(kernel: Kernel, buffer: Buffer, chain: Chain) -> bool:
    return fills_own_rows(kernel) and buffer.space.rows == chain.length


def _is_read_first(kernel: Kernel, new: Buffer, old: Buffer) -> bool:
    return isinstance(kernel, Loop) and element_by_element(kernel, new, old)
