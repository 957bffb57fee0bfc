"""What a program is compiled to, shared by all programs that differ in their leaves alone.

A search trains thousands of networks, and many of them differ in a rate or a seed.
"""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Hashable

from ...graph.leaves import STATE_OPS, input_op
from ...graph.shape import Free, N
from ...graph.tensor import Tensor, constant_op
from ..program import Program
from .assemble import assemble
from .kernels import Gather, Kernel, Loop, Product, Space
from .passes import Stages, compile_passes
from .schedule import written
from .tables import Tables

MOST_PROGRAMS = 64
"""Programs that are kept: each holds a graph, but no buffers."""


class CompiledProgram:
    """A program's phases and code, and which of its leaves lies in which buffer."""

    def __init__(self, program: Program) -> None:
        stages = compile_passes(program)
        lowered, schedule, transposes = stages.lowered, stages.schedule, stages.kept.transposes
        self.order = program.order
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
        self.only_for_products = _only_for_products(stages)
        """The slots of rows of the batch that need not be gathered."""
        pairs = {x: (leaves[x].slot, new.slot) for x, new in lowered.updates.items()}
        self.aliases = [pairs[x] for x in stages.in_place]
        self.swaps = [pair for x, pair in pairs.items() if x not in stages.in_place]
        self.reuse = stages.reuse
        self.watched, self.checked = _check(stages)
        self.work = sum(map(work_a_row, self.kernels))


_kept: collections.OrderedDict[Hashable, CompiledProgram] = collections.OrderedDict()
_lock = threading.Lock()


def compiled_program(program: Program) -> tuple[CompiledProgram, dict[Tensor, Tensor]]:
    """Compiled now, or for a program of the same form; and which leaf stands for which here."""
    key = form(program)
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
    if found is None:
        found = CompiledProgram(program)
        with _lock:
            _kept[key] = found
            while len(_kept) > MOST_PROGRAMS:
                _kept.popitem(last=False)
    pairs = zip(found.order, program.order, strict=True)
    return found, {its: here for its, here in pairs if not its.inputs}


def form(program: Program) -> Hashable:
    """All of a program but the names and the values of its leaves."""
    place = {node: i for i, node in enumerate(program.order)}
    nodes = tuple(
        [
            (node.op, *[place[x] for x in node.inputs], *node.attrs.items())
            if node.inputs
            else _leaf(node)
            for node in program.order
        ]
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


def _only_for_products(stages: Stages) -> set[int]:
    """What products alone read, as their first operand, and in no window."""
    schedule, shown = stages.schedule, {b.slot for b in stages.lowered.outputs}
    found = {kernel.into.slot for kernel in schedule.kernels if isinstance(kernel, Gather)}
    for kernel in schedule.kernels:
        read = kernel.reads[1:] if isinstance(kernel, Product) else kernel.reads
        found -= {buffer.slot for buffer in read}
    return found - shown - stages.reuse.in_windows.keys()


def work_a_row(kernel: Kernel) -> float:
    """About how many operations a kernel makes for a row of the batch."""
    match kernel:
        case Product(a=a, b=b) if N in (a.space.rows, a.space.columns):
            lengths = (a.space.columns, b.space.columns)
            return 2.0 * math.prod(n for n in lengths if isinstance(n, int))
        case Loop(space=Space(rows=Free(), columns=int(columns))):
            return float(columns * len(kernel.body))
    return 0.0
