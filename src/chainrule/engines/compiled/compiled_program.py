"""What a program is compiled to, shared by all programs that differ in leaves and widths alone.

A search trains thousands of networks, and most of them differ in a rate, a seed, or a width.
"""

from __future__ import annotations

import collections
import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...graph import ops
from ...graph.leaves import STATE_OPS, input_op
from ...graph.shape import Dim, Free, N
from ...graph.tensor import Tensor, constant_op
from ...locks import fork_safe_lock
from ..program import Program
from .assemble import assemble
from .kernels import Gather, Product
from .passes import Stages, compile_passes
from .schedule import is_small, written
from .tables import Tables

LENGTHS = ("shape", "rows")
"""Attributes that say no more than the shape of the result does."""

MOST_PROGRAMS = 128
"""Programs that are kept: each holds a graph and kernels, some 0.4 MB, but no buffers."""


class CompiledProgram:
    """A program's phases and code, and which of its leaves lies in which buffer."""

    def __init__(self, program: Program, widths: Sequence[int]) -> None:
        stages = compile_passes(program)
        lowered, schedule, transposes = stages.lowered, stages.schedule, stages.kept.transposes
        self.order, self.widths = program.order, widths
        self.phases, self.buffers, self.kernels = (
            schedule.phases, schedule.buffers, schedule.kernels
        )  # fmt: skip
        self.code = assemble(self.kernels)
        self.tables = Tables([number for _, numbers in self.code for number in numbers])
        self.shown = dict(zip(program.outputs, lowered.outputs, strict=True))
        self.scalars = [name for name, output in program.outputs.items() if output.shape == ()]
        self.matrices = [name for name in program.outputs if name not in self.scalars]
        leaves = lowered.leaves
        self.constants = [(x.attrs["value"], b) for x, b in leaves.items() if x.op is constant_op]
        self.state = {x: b for x, b in leaves.items() if x.op in STATE_OPS and x not in transposes}
        self.transposes = [(leaves[x], leaves[W]) for x, W in transposes.items()]
        at = {b.slot: x for x, b in leaves.items() if x.op is input_op}
        self.gathers = [
            (number, kernel, at[kernel.into.slot])
            for number, kernel in enumerate(self.kernels)
            if isinstance(kernel, Gather)
        ]
        self.products = {
            kernel.into.slot: [
                number
                for number, product in enumerate(self.kernels)
                if isinstance(product, Product)
                and product.a.slot == kernel.into.slot
                and not product.in_grains
            ]
            for _, kernel, _ in self.gathers
        }
        """Those of the rows of the batch, by slot, that may leave out zeros."""
        pairs = {x: (leaves[x].slot, new.slot) for x, new in lowered.updates.items()}
        self.aliases = [pairs[x] for x in stages.in_place]
        self.swaps = [pair for x, pair in pairs.items() if x not in stages.in_place]
        self.reuse = stages.reuse
        self.watched, self.checked = _check(stages)


@dataclass(frozen=True, eq=False)
class Match:
    """A compiled program, and what stands in it for what: for its leaves, and for its widths."""

    compiled: CompiledProgram
    leaves: Mapping[Tensor, Tensor]
    widths: tuple[tuple[int, int], ...]


_kept: collections.OrderedDict[Hashable, CompiledProgram] = collections.OrderedDict()
_matches: weakref.WeakKeyDictionary[Program, Match] = weakref.WeakKeyDictionary()
"""Of programs that trainers share."""
_lock = fork_safe_lock()


def find_match(program: Program) -> Match:
    """Compiled now, or for a program of the same form, or before for the same one."""
    with _lock:
        known = _matches.get(program)
    if known is not None:
        return known
    match = _find_match(program)
    with _lock:
        return _matches.setdefault(program, match)


def _find_match(program: Program) -> Match:
    here = form(program)
    with _lock:
        found = _kept.get(here.key)
        if found is not None:
            _kept.move_to_end(here.key)
    if found is None:
        found = CompiledProgram(program, here.widths)
        with _lock:
            _kept[here.key] = found
            while len(_kept) > MOST_PROGRAMS:
                _, forgotten = _kept.popitem(last=False)
                for other in [p for p, match in _matches.items() if match.compiled is forgotten]:
                    del _matches[other]
    pairs = zip(found.order, program.order, strict=True)
    leaves = {its: own for its, own in pairs if not its.inputs}
    return Match(found, leaves, tuple(zip(found.widths, here.widths, strict=True)))


@dataclass(frozen=True)
class Form:
    """A key that programs have in common which differ in values and widths alone; and the widths,
    each once, in the order in which they are met."""

    key: Hashable
    widths: list[int]


def form(program: Program) -> Form:
    """All of a program but its leaves' names and values, those of constants apart, and which widths
    it has.

    Which of them are equal, which are 1, and which products are small: passes look at no more.
    """
    place = {node: i for i, node in enumerate(program.order)}
    met: dict[Dim, Dim | str] = {N: N, 1: 1}
    nodes: list[Hashable] = []
    for node in program.order:
        for n in node.shape:
            if n not in met:
                met[n] = f"width {len(met)}"
        own: Any = _leaf(node)
        if node.inputs:
            small = node.op is ops.matmul and is_small(*node.shape)
            attrs = [(name, x) for name, x in node.attrs.items() if name not in LENGTHS]
            own = node.op, small, *[place[x] for x in node.inputs], *attrs
        nodes.append((own, *[met[n] for n in node.shape]))
    outputs = tuple((name, place[node]) for name, node in program.outputs.items())
    updates = tuple((place[leaf], place[node]) for leaf, node in program.updates.items())
    widths = [n for n in met if not isinstance(n, Free) and n != 1]
    return Form((tuple(nodes), outputs, updates, program.watched), widths)


def _leaf(node: Tensor) -> Hashable:
    if node.op is constant_op:
        value = node.attrs["value"]
        return node.op, node.dtype, value.shape, value.tobytes()
    return node.op, node.dtype


def _check(stages: Stages) -> tuple[int, int]:
    """The slot of what must be finite, and the phase after which it is known; or -1."""
    if stages.watched is None:
        return -1, -1
    slot = stages.watched.slot
    makers = [
        number
        for number, phase in enumerate(stages.schedule.phases)
        for kernel in phase.kernels
        if slot in {b.slot for b in written(kernel)}
    ]
    return slot, makers[0]
