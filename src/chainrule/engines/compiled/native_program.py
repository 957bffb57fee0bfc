"""A program as machine code with its buffers, ready to run over feeds."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph import ops, random
from ...graph import shape as shapes
from ...graph.evaluate import Plan, initial_value
from ...graph.leaves import STATE_OPS, input_op
from ...graph.shape import Free, N
from ...graph.tensor import Array, Tensor, constant_op
from ..program import Feed, Outputs, Program
from .assemble import address, assemble
from .call import CONTEXT, Number
from .crew import Crew
from .driver_code import ABANDONED, FIELDS, LINE, MEETING
from .gather_code import SOURCES
from .kernels import (
    Buffer,
    Gather,
    Grains,
    Kernel,
    Length,
    Loop,
    Product,
    Space,
    lies_over,
    walked,
)
from .memory import Memory, allocate, elements, grain, length, stride
from .passes import Stages, compile_passes
from .schedule import Chain, touched, written

DRIVER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)

CACHE = 256 * 1024
"""Bytes of a chain's buffers that a thread works on before it goes on to other rows: a half or a
quarter of a core's own cache on most processors."""

FEWEST_ROWS = 96
"""Rows at a time all the same: a product reads all of b again for each of them."""

ALL = 2**62
"""A grain that has all rows, where one thread does the work."""


class NativeProgram:
    """Simplified, lowered, scheduled and compiled when it is made; buffers are for a batch size."""

    def __init__(self, program: Program) -> None:
        self.program = program
        stages = compile_passes(program)
        lowered, self.transposes = stages.lowered, stages.kept.transposes
        self.phases, self.buffers = stages.schedule.phases, stages.schedule.buffers
        self.kernels = stages.schedule.kernels
        self.code = assemble(self.kernels)
        self.tables = Tables([number for _, numbers in self.code for number in numbers])
        self.shown = dict(zip(program.outputs, lowered.outputs, strict=True))
        self.leaves = lowered.leaves
        self.state = {
            x: b for x, b in self.leaves.items() if x.op in STATE_OPS and x not in self.transposes
        }
        self.inputs = {b.slot: x for x, b in self.leaves.items() if x.op is input_op}
        pairs = {x: (self.leaves[x].slot, new.slot) for x, new in lowered.updates.items()}
        self.aliases = [pairs[x] for x in stages.in_place]
        self.swaps = [pair for x, pair in pairs.items() if x not in stages.in_place]
        self.checks = self._checks(stages)
        self.work = sum(map(work_a_row, self.kernels))
        self.batch = 0
        self.seen = -1  # the memory as this program left it
        self.arrays: dict[int, Array] = {}  # by slot
        self.numbers: list[Array] = []  # by kernel
        self.plan: dict[str, list[tuple[int, ...]]] = {}

    def run(self, memory: Memory, feed: Feed, crew: Crew) -> Outputs:
        """Run over the feed; `memory` has the state before, and then the state after."""
        batch = min(feed.batch_size, feed.rows)
        if batch != self.batch:
            self._prepare(batch)
        for leaf, buffer in self.state.items():
            self.arrays[buffer.slot] = memory.arrays[leaf]
        for old, new in self.aliases:
            self.arrays[new] = self.arrays[old]
        if memory.changes != self.seen:
            self._turn_weights()
        data = {slot: _gatherable(feed.data[leaf]) for slot, leaf in self.inputs.items()}
        sizes = np.minimum(batch, feed.rows - batch * np.arange(feed.steps))
        uniforms, keys = self.tables.values(feed, sizes)
        with np.errstate(over="ignore"):  # a rate of 1e39 is infinite in float32
            uniforms = np.ascontiguousarray(uniforms, np.float32)
        names = self.program.outputs
        scalars = [name for name in names if names[name].shape == ()]
        values = np.zeros((feed.steps, len(scalars)), np.float32)
        found = {name: self._empty(name, feed.rows) for name in names if name not in scalars}
        order = np.arange(feed.rows) if feed.order is None else feed.order
        arguments: dict[str, Any] = {
            "slots": [self.arrays[b.slot].ctypes.data for b in self.buffers],
            **self.plan,
            "calls": self._calls(data),
            "scalars": [self.shown[name].slot for name in scalars],
            "scalar_values": values,
            "matrices": [
                (self.shown[name].slot, *self._form(self.shown[name]), array.ctypes.data)
                for name, array in found.items()
            ],
            "swaps": self.swaps,
            **self.checks,
            "order": np.ascontiguousarray(order, np.int64),
            "batch": batch,
            "grain": grain(batch),
            "rows": feed.rows,
            "uniforms": uniforms,
            "n_uniforms": uniforms.shape[1],
            "keys": np.ascontiguousarray(keys, np.uint32),
            "n_keys": keys.shape[1],
        }
        done = _drive(arguments, crew, crew.size_for(self.work * batch))
        if done % 2:
            for old, new in self.swaps:
                self.arrays[old], self.arrays[new] = self.arrays[new], self.arrays[old]
        for leaf, buffer in self.state.items():
            memory.arrays[leaf] = self.arrays[buffer.slot]
        if self.program.updates:
            memory.changes += 1
            self.seen = memory.changes
        outputs = {name: values[:done, i] for i, name in enumerate(scalars)}
        for name, array in found.items():
            outputs[name] = self._shaped(name, array[: done * batch])
        return {name: outputs[name] for name in names}

    def _checks(self, stages: Stages) -> dict[str, int]:
        """What must be finite, and after which phase it is known."""
        if stages.watched is None:
            return {"watched": -1, "checked": -1}
        slot = stages.watched.slot
        makers = [
            number
            for number, phase in enumerate(self.phases)
            for kernel in phase.kernels
            if slot in {b.slot for b in written(kernel)}
        ]
        return {"watched": slot, "checked": makers[0]}

    def _form(self, buffer: Buffer) -> tuple[int, int]:
        """The stride and the columns of a buffer."""
        columns = length(buffer.space.columns, self.batch)
        return stride(columns), columns

    def _empty(self, name: str, rows: int) -> Array:
        return np.zeros((rows, self._form(self.shown[name])[1]), np.float32)

    def _shaped(self, name: str, matrix: Array) -> Array:
        output = self.program.outputs[name]
        matrix = matrix if output.dtype == "float" else matrix.view(np.int32)
        return matrix.reshape(-1, *shapes.resolve(output.shape[1:], None))

    # What depends on the size of the batch ------------------------------------------------------

    def _prepare(self, batch: int) -> None:
        self.batch, self.seen = batch, -1
        mine = {buffer.slot for buffer in self.state.values()} | {new for _, new in self.aliases}
        self.arrays = {b.slot: allocate(b.space, batch) for b in self.buffers if b.slot not in mine}
        for leaf, buffer in self.leaves.items():
            if leaf.op is constant_op:
                held = elements(self.arrays[buffer.slot], buffer.space, batch)
                held = held if leaf.dtype == "float" else held.view(np.int32)
                held[:] = leaf.attrs["value"].reshape(held.shape)
        self.numbers = [
            np.array([self._number(*number) for number in numbers], np.int64)
            for _, numbers in self.code
        ]
        self.plan = self._plan()

    def _number(self, kind: str, what: Any) -> int:
        """One of a kernel's own numbers."""
        match kind:
            case "slot":
                return int(what.slot)
            case "stride":
                return self._form(what)[0]
            case "length":
                return self._length(what)
            case "rows":
                return self._length(what.space.rows)
            case "grain":
                return self._grain(what)
            case "last row":
                return length(what.space.rows, self.batch) - 1
            case "number":
                return int(what)
            case "data":
                return 0  # known when there is a feed
        return self.tables.place(kind, what)

    def _length(self, n: Length) -> int:
        """A length, or below 0 where the context has it."""
        varies = {N: "rows", Grains(N): "grains"}
        return -CONTEXT.index(varies[n]) if n in varies else length(n, self.batch)

    def _grain(self, along: Length | None) -> int:
        if along is N:
            return -CONTEXT.index("grain")
        return ALL if along is None else grain(length(along, self.batch))

    def _plan(self) -> dict[str, list[tuple[int, ...]]]:
        """The driver's lists of phases and chains; what is for one thread is a chain by itself."""
        phases: list[tuple[int, ...]] = []
        chains: list[tuple[int, ...]] = []
        call = 0
        for phase in self.phases:
            first = len(chains)
            for chain in phase.chains:
                end = call + len(chain.kernels)
                form = self._length(chain.length), self._grain(chain.length)
                chains.append((*form, self._rows_at_once(chain), call, end))
                call = end
            alone = len(chains)
            for kernel in phase.alone:
                chains.append((self._length(lies_over(kernel)), ALL, ALL, call, call + 1))
                call += 1
            phases.append((first, alone, len(chains)))
        return {"phases": phases, "chains": chains}

    def _rows_at_once(self, chain: Chain) -> int:
        """As many rows as the cache has room for, in whole grains."""
        buffers = {b.slot: b for kernel in chain.kernels for b in touched(kernel)}
        of_rows = [walked(b.space) for b in buffers.values()]
        size = sum(
            4 if space.rows == 1 else 4 * stride(length(space.columns, self.batch))
            for space in of_rows
            if chain.length in (space.rows, space.columns if space.rows == 1 else None)
        )
        unit = grain(length(chain.length, self.batch))
        return max(1, max(FEWEST_ROWS, CACHE // max(size, 1)) // unit) * unit

    # What depends on the feed -------------------------------------------------------------------

    def _calls(self, data: dict[int, Array]) -> list[tuple[int, int]]:
        """For each kernel its code, and where its numbers are."""
        calls = []
        for kernel, (place, _), numbers in zip(self.kernels, self.code, self.numbers, strict=True):
            code = place
            if isinstance(kernel, Gather):
                source = data[kernel.into.slot]
                code, numbers[0] = address(source.dtype.name), source.ctypes.data
            calls.append((code, numbers.ctypes.data))
        return calls

    def _turn_weights(self) -> None:
        """Make the transposes that are kept, of weights that somebody else has changed."""
        for leaf, W in self.transposes.items():
            source, into = self.leaves[W], self.leaves[leaf]
            matrix = elements(self.arrays[source.slot], source.space, self.batch)
            elements(self.arrays[into.slot], into.space, self.batch)[:] = matrix.T


def work_a_row(kernel: Kernel) -> float:
    """About how many operations a kernel makes for a row of the batch."""
    match kernel:
        case Product(a=a, b=b) if N in (a.space.rows, a.space.columns):
            lengths = (a.space.columns, b.space.columns)
            return 2.0 * math.prod(n for n in lengths if isinstance(n, int))
        case Loop(space=Space(rows=Free(), columns=int(columns))):
            return float(columns * len(kernel.body))
    return 0.0


class Tables:
    """What differs from step to step beside the rows: uniform values, and random keys."""

    def __init__(self, numbers: Sequence[Number]) -> None:
        self.uniforms = list(dict.fromkeys(x for kind, x in numbers if kind == "uniform"))
        self.random = list(dict.fromkeys(x for kind, x in numbers if kind == "key"))
        words = [x for node in self.random for x in node.inputs]
        self._plan = Plan([*self.uniforms, *words], "float64")

    def place(self, kind: str, node: Tensor) -> int:
        """Where in a step's row of its table the value of a node is."""
        return self.uniforms.index(node) if kind == "uniform" else 2 * self.random.index(node)

    def values(self, feed: Feed, rows: Array) -> tuple[Array, Array]:
        """Both tables, a row a step, for batches of those numbers of rows.

        The reference's own functions compute them, for all steps at once, in float64.
        """
        given = {
            leaf: feed.scalars[leaf] if leaf in feed.scalars else initial_value(leaf)
            for leaf in self._plan.leaves
            if leaf.op is not ops.rows
        }
        values = [np.broadcast_to(x, rows.shape) for x in self._plan.run(given, rows)]
        count = len(self.uniforms)
        words = [value.astype(np.uint64) for value in values[count:]]
        keys = [
            key
            for i, node in enumerate(self.random)
            for key in random.keys(words[2 * i], words[2 * i + 1], node.attrs["stream"])
        ]
        return _columns(values[:count], len(rows)), _columns(keys, len(rows))


def _columns(values: Sequence[Array], rows: int) -> Array:
    return np.stack(values, axis=1) if values else np.zeros((rows, 0))


def _gatherable(data: Array) -> Array:
    """Data of a type that the driver can gather from."""
    if data.dtype.name in SOURCES:
        return np.ascontiguousarray(data)
    return np.ascontiguousarray(data, np.float32 if data.dtype.kind == "f" else np.int64)


def _drive(arguments: dict[str, Any], crew: Crew, threads: int) -> int:
    """Call the driver, in each thread, with the addresses of the lists and arrays."""
    numbers, held = dict(arguments), []
    for name, value in arguments.items():
        if isinstance(value, list):
            array = np.array(value, np.int64)
            numbers[f"n_{name}"] = len(value)
        elif isinstance(value, np.ndarray):
            array = value
        else:
            continue
        held.append(array)
        numbers[name] = array.ctypes.data
    meeting = np.zeros(LINE * (len(MEETING) + 1), np.int64)
    start = -meeting.ctypes.data % (8 * LINE) // 8
    meeting = meeting[start:]
    numbers |= {"threads": threads, "meeting": meeting.ctypes.data}
    fields = [
        np.array([(numbers | {"thread": i})[name] for name in FIELDS], np.int64)
        for i in range(threads)
    ]
    call = DRIVER(address("driver"))

    def abandon() -> None:
        meeting[LINE * MEETING.index("stopped")] = ABANDONED

    return crew.run([functools.partial(call, x.ctypes.data) for x in fields], abandon)
