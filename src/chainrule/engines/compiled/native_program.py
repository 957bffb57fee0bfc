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
from ...graph.shape import Free
from ...graph.tensor import Array, Tensor, constant_op
from ..program import Feed, Outputs, Program
from .assemble import Number, address, assemble
from .crew import Crew
from .driver_code import FIELDS, SOURCES
from .kernels import Buffer, Kernel, Loop, Product, Space
from .lower import lower
from .memory import allocate, elements, length, stride
from .simplify import simplify

DRIVER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)


class NativeProgram:
    """Simplified, lowered and compiled when it is made; its buffers grow with the batch."""

    def __init__(self, program: Program) -> None:
        self.program = program
        simple = simplify(program.results)
        count = len(program.outputs)
        self.lowered = lower(
            simple[:count], dict(zip(program.updates, simple[count:], strict=True))
        )
        self.kernels = assemble(self.lowered.kernels)
        self.tables = Tables([number for _, numbers in self.kernels for number in numbers])
        self.shown = dict(zip(program.outputs, self.lowered.outputs, strict=True))
        self.state = {x: b for x, b in self.lowered.leaves.items() if x.op in STATE_OPS}
        self.inputs = {x: b for x, b in self.lowered.leaves.items() if x.op is input_op}
        self.swaps = [(self.state[x].slot, new.slot) for x, new in self.lowered.updates.items()]
        self.work = sum(map(work_a_row, self.lowered.kernels))
        self.capacity = 0
        self.arrays: dict[int, Array] = {}  # by slot
        self.calls: list[tuple[int, Array]] = []

    def run(self, memory: dict[Tensor, Array], feed: Feed, crew: Crew) -> Outputs:
        """Run over the feed; `memory` has the state before, and then the state after."""
        if min(feed.batch_size, feed.rows) > self.capacity:
            self._make_room(min(feed.batch_size, feed.rows))
        for leaf, buffer in self.state.items():
            self.arrays[buffer.slot] = memory[leaf]
        rows, steps = feed.rows, feed.steps
        sizes = np.minimum(feed.batch_size, rows - feed.batch_size * np.arange(steps))
        uniforms, keys = self.tables.values(feed, sizes)
        with np.errstate(over="ignore"):  # a rate of 1e39 is infinite in float32
            uniforms = np.ascontiguousarray(uniforms, np.float32)
        names = self.program.outputs
        scalars = [name for name in names if names[name].shape == ()]
        values = np.zeros((steps, len(scalars)), np.float32)
        found = {name: self._empty(name, rows) for name in names if name not in scalars}
        data = {leaf: _gatherable(feed.data[leaf]) for leaf in self.inputs}
        order = np.arange(rows) if feed.order is None else feed.order
        watched = self.program.watched
        arguments: dict[str, Any] = {
            "slots": [self.arrays[b.slot].ctypes.data for b in self.lowered.buffers],
            "calls": [(code, numbers.ctypes.data) for code, numbers in self.calls],
            "gathers": [
                (address(data[x].dtype.name), data[x].ctypes.data, b.slot, *self._form(b))
                for x, b in self.inputs.items()
            ],
            "scalars": [self.shown[name].slot for name in scalars],
            "scalar_values": values,
            "matrices": [
                (self.shown[name].slot, *self._form(self.shown[name]), array.ctypes.data)
                for name, array in found.items()
            ],
            "swaps": self.swaps,
            "watched": self.shown[watched].slot if watched else -1,
            "order": np.ascontiguousarray(order, np.int64),
            "batch": feed.batch_size,
            "rows": rows,
            "uniforms": uniforms,
            "n_uniforms": uniforms.shape[1],
            "keys": np.ascontiguousarray(keys, np.uint32),
            "n_keys": keys.shape[1],
        }
        done = _drive(arguments, crew, crew.size_for(self.work * min(feed.batch_size, rows)))
        if done % 2:
            for old, new in self.swaps:
                self.arrays[old], self.arrays[new] = self.arrays[new], self.arrays[old]
        for leaf, buffer in self.state.items():
            memory[leaf] = self.arrays[buffer.slot]
        outputs = {name: values[:done, i] for i, name in enumerate(scalars)}
        for name, array in found.items():
            outputs[name] = self._shaped(name, array[: done * feed.batch_size])
        return {name: outputs[name] for name in names}

    def _form(self, buffer: Buffer) -> tuple[int, int]:
        """The stride and the columns of a buffer."""
        columns = length(buffer.space.columns, self.capacity)
        return stride(columns), columns

    def _empty(self, name: str, rows: int) -> Array:
        return np.zeros((rows, self._form(self.shown[name])[1]), np.float32)

    def _shaped(self, name: str, matrix: Array) -> Array:
        output = self.program.outputs[name]
        matrix = matrix if output.dtype == "float" else matrix.view(np.int32)
        return matrix.reshape(-1, *shapes.resolve(output.shape[1:], None))

    def _make_room(self, capacity: int) -> None:
        """Buffers, and the kernels' numbers, for batches of up to that many rows."""
        self.capacity = capacity
        self.arrays = {b.slot: allocate(b.space, capacity) for b in self.lowered.buffers}
        for leaf, buffer in self.lowered.leaves.items():
            if leaf.op is constant_op:
                held = elements(self.arrays[buffer.slot], buffer.space, capacity)
                held = held if leaf.dtype == "float" else held.view(np.int32)
                held[:] = leaf.attrs["value"].reshape(held.shape)
        self.calls = [
            (code, np.array([self._number(*number) for number in numbers], np.int64))
            for code, numbers in self.kernels
        ]

    def _number(self, kind: str, what: Any) -> int:
        """One of a kernel's own numbers; −1 is the length of the batch."""
        match kind:
            case "slot":
                return int(what.slot)
            case "stride":
                return self._form(what)[0]
            case "length":
                return what if isinstance(what, int) else -1
            case "last row":
                return length(what.space.rows, self.capacity) - 1
        return self.tables.place(kind, what)


def work_a_row(kernel: Kernel) -> float:
    """About how many operations a kernel makes for a row of the batch."""
    match kernel:
        case Product(a=a, into=into, turned=turned):
            lengths = into.space.rows if turned else a.space.columns, into.space.columns
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
    barrier = np.zeros(16, np.int64)  # two words, each with a line of the cache to itself
    numbers |= {"threads": threads, "barrier": barrier.ctypes.data}
    fields = [
        np.array([(numbers | {"thread": i})[name] for name in FIELDS], np.int64)
        for i in range(threads)
    ]
    call = DRIVER(address("driver"))
    return crew.run([functools.partial(call, x.ctypes.data) for x in fields])
