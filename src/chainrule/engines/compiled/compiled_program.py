"""What a program is compiled to, shared by all programs that differ in their leaves alone.

A search trains thousands of networks, and many of them differ in a rate or a seed.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Hashable
from dataclasses import dataclass

from ...graph.tensor import Tensor, constant_op
from ...graph.walk import toposort
from ..program import Program
from .assemble import assemble
from .call import Number
from .passes import Stages, compile_passes
from .tables import Tables

MOST = 64
"""Programs that are kept: each holds a graph, but no buffers."""


@dataclass(frozen=True, eq=False)
class CompiledProgram:
    """The stages of a program, its code, and its leaves in the order in which it meets them."""

    stages: Stages
    code: list[tuple[int, list[Number]]]
    tables: Tables
    leaves: list[Tensor]


_kept: collections.OrderedDict[Hashable, CompiledProgram] = collections.OrderedDict()
_lock = threading.Lock()


def compiled_program(program: Program) -> tuple[CompiledProgram, dict[Tensor, Tensor]]:
    """Compiled now, or for a program of the same form; and which leaf stands for which here."""
    order = toposort([*program.results, *program.updates])
    leaves = [node for node in order if not node.inputs]
    key = form(program, order)
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
    if found is None:
        stages = compile_passes(program)
        code = assemble(stages.schedule.kernels)
        tables = Tables([number for _, numbers in code for number in numbers])
        found = CompiledProgram(stages, code, tables, leaves)
        with _lock:
            _kept[key] = found
            while len(_kept) > MOST:
                _kept.popitem(last=False)
    return found, dict(zip(found.leaves, leaves, strict=True))


def form(program: Program, order: list[Tensor]) -> Hashable:
    """All of a program but the names and the values of its leaves."""
    place = {node: i for i, node in enumerate(order)}
    nodes = tuple(
        (node.op, tuple(place[x] for x in node.inputs), tuple(node.attrs.items()))
        if node.inputs
        else _leaf(node)
        for node in order
    )
    outputs = tuple((name, place[node]) for name, node in program.outputs.items())
    updates = tuple((place[leaf], place[node]) for leaf, node in program.updates.items())
    return nodes, outputs, updates, program.watched


def _leaf(node: Tensor) -> Hashable:
    shape = node.op, node.shape, node.dtype
    if node.op is constant_op:
        value = node.attrs["value"]
        return (*shape, value.shape, value.tobytes())
    return shape
