"""A program as machine code with its buffers, ready to run over feeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...graph import shape as shapes
from ...graph.leaves import STATE_OPS, input_op
from ...graph.shape import Free, N
from ...graph.tensor import Array, DType, constant_op
from ..program import Feed, Outputs, Program
from .assemble import address
from .call import CONTEXT
from .compiled_program import compiled_program
from .crew import Crew
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
from .passes import Stages
from .request import Request, entries, fresh_meeting
from .schedule import Chain, touched, written

CACHE = 256 * 1024
"""Bytes of a chain's buffers that a thread works on before it goes on to other rows: a half or a
quarter of a core's own cache on most processors."""

FEWEST_ROWS = 96
"""Rows at a time all the same: a product reads all of b again for each of them."""

BRIEF_WORK = 1e7
"""Operations of a run that is over in about 0.2 ms."""

ALL = 2**62
"""A grain that has all rows, where one thread does the work."""


class NativeProgram:
    """Compiled when it is made; its buffers are for a batch size."""

    def __init__(self, program: Program) -> None:
        self.program = program
        compiled, here = compiled_program(program)
        stages, self.code, self.tables = compiled.stages, compiled.code, compiled.tables
        lowered = stages.lowered
        self.here = here
        self.phases, self.buffers = stages.schedule.phases, stages.schedule.buffers
        self.kernels = stages.schedule.kernels
        self.shown = dict(zip(program.outputs, lowered.outputs, strict=True))
        self.leaves = {here.get(x, x): b for x, b in lowered.leaves.items()}
        self.transposes = {x: here[W] for x, W in stages.kept.transposes.items()}
        self.state = {
            x: b for x, b in self.leaves.items() if x.op in STATE_OPS and x not in self.transposes
        }
        self.inputs = {b.slot: x for x, b in self.leaves.items() if x.op is input_op}
        pairs = {x: (lowered.leaves[x].slot, new.slot) for x, new in lowered.updates.items()}
        self.aliases = [pairs[x] for x in stages.in_place]
        self.swaps = [pair for x, pair in pairs.items() if x not in stages.in_place]
        self.checks = self._checks(stages)
        names = program.outputs
        self.scalars = [name for name in names if names[name].shape == ()]
        self.matrices = [name for name in names if names[name].shape != ()]
        self.work = sum(map(work_a_row, self.kernels))
        self.batch = -1
        self.seen = -1  # the memory as this program left it
        self.arrays: dict[int, Array] = {}  # by slot
        self.numbers: list[Array] = []  # by kernel
        self.data: dict[int, Array] = {}  # by kernel
        self.request = Request()
        self.slots = self.calls = np.zeros(0, np.int64)

    def run(self, memory: Memory, feed: Feed, crew: Crew) -> Outputs:
        """Run over the feed; `memory` has the state before, and then the state after."""
        batch = min(feed.batch_size, feed.rows)
        if batch != self.batch:
            self._prepare(batch)
        self._take_state(memory)
        self._take_data(feed)
        sizes = np.minimum(batch, feed.rows - batch * np.arange(feed.steps))
        uniforms, keys = self.tables.values(feed, sizes, self.here)
        with np.errstate(over="ignore"):  # a rate of 1e39 is infinite in float32
            uniforms = np.ascontiguousarray(uniforms, np.float32)
        values = np.zeros((feed.steps, len(self.scalars)), np.float32)
        found = {name: self._empty(name, feed.rows) for name in self.matrices}
        order = np.arange(feed.rows) if feed.order is None else feed.order
        matrices = [
            (self.shown[name].slot, *self._form(self.shown[name]), array.ctypes.data)
            for name, array in found.items()
        ]
        self.request.set(
            scalar_values=values,
            matrices=entries(matrices, 4),
            order=np.ascontiguousarray(order, np.int64),
            rows=feed.rows,
            uniforms=uniforms,
            n_uniforms=uniforms.shape[1],
            keys=keys,
            n_keys=keys.shape[1],
            meeting=fresh_meeting(),  # before the run: no step of it is done yet
        )
        brief = self.work * feed.rows < BRIEF_WORK
        try:
            self.request.run(crew, crew.size_for(self.work * batch), brief)
        finally:  # also where a signal's handler raises: the steps are made
            done = self.request.done
            self._give_state(memory, done)
        outputs = {name: values[:done, i] for i, name in enumerate(self.scalars)}
        for name, array in found.items():
            outputs[name] = self._shaped(name, array[: done * batch])
        return {name: outputs[name] for name in self.program.outputs}

    def _take_state(self, memory: Memory) -> None:
        for leaf, buffer in self.state.items():
            array = memory.arrays[leaf]
            if self.arrays.get(buffer.slot) is not array:
                self.arrays[buffer.slot] = array
                self.slots[buffer.slot] = array.ctypes.data
        for old, new in self.aliases:
            self.arrays[new], self.slots[new] = self.arrays[old], self.slots[old]
        if memory.changes != self.seen:
            self._turn_weights()

    def _give_state(self, memory: Memory, done: int) -> None:
        """The driver has swapped the addresses at each step."""
        if done % 2:
            for old, new in self.swaps:
                self.arrays[old], self.arrays[new] = self.arrays[new], self.arrays[old]
        for leaf, buffer in self.state.items():
            memory.arrays[leaf] = self.arrays[buffer.slot]
        if self.program.updates:
            memory.changes += 1
            self.seen = memory.changes

    def _take_data(self, feed: Feed) -> None:
        """Tell the gathers where the rows are."""
        for i, kernel in enumerate(self.kernels):
            if isinstance(kernel, Gather):
                data = feed.data[self.inputs[kernel.into.slot]]
                if self.data.get(i) is not data:  # a copy is never that: its origin may change
                    self.data[i] = source = _gatherable(data, kernel.into.dtype)
                    self.calls[i, 0] = address(source.dtype.name)
                    self.numbers[i][0] = source.ctypes.data

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
        columns = buffer.space.columns
        return stride(columns, self.batch), length(columns, self.batch)

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
        pairs = zip(self.code, self.numbers, strict=True)
        self.calls = entries([(code, numbers.ctypes.data) for (code, _), numbers in pairs], 2)
        self.data = {}
        self.slots = np.zeros(len(self.buffers), np.int64)
        for slot, array in self.arrays.items():
            self.slots[slot] = array.ctypes.data
        phases, chains = self._plan()
        self.request.set(
            slots=self.slots,
            phases=entries(phases, 3),
            chains=entries(chains, 5),
            calls=self.calls,
            scalars=entries([(self.shown[name].slot,) for name in self.scalars], 1),
            swaps=entries(self.swaps, 2),
            batch=batch,
            grain=grain(batch),
            **self.checks,
        )

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

    def _plan(self) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
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
        return phases, chains

    def _rows_at_once(self, chain: Chain) -> int:
        """As many rows as the cache has room for, in whole grains."""
        buffers = {b.slot: b for kernel in chain.kernels for b in touched(kernel)}
        of_rows = [walked(b.space) for b in buffers.values()]
        size = sum(
            4 if space.rows == 1 else 4 * stride(space.columns, self.batch)
            for space in of_rows
            if chain.length in (space.rows, space.columns if space.rows == 1 else None)
        )
        unit = grain(length(chain.length, self.batch))
        return max(1, max(FEWEST_ROWS, CACHE // max(size, 1)) // unit) * unit

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


def _gatherable(data: Array, dtype: DType) -> Array:
    """Data of a type that the driver can gather from: bytes may stay bytes until then."""
    if dtype != "float":
        return np.ascontiguousarray(data, np.int64)
    return np.ascontiguousarray(data, np.uint8 if data.dtype == np.uint8 else np.float32)
