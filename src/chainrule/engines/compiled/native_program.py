"""A program as machine code with its buffers, ready to run over feeds."""

from __future__ import annotations

import numpy as np

from ...graph import shape as shapes
from ...graph.tensor import Array
from ..program import Feed, Outputs, Program
from .assemble import addresses
from .compiled_program import Match
from .crew import Crew
from .kernels import Buffer
from .memory import Lengths, Memory, allocate, start_of
from .reading import USUAL, Reading, empty_marks, gatherable, reading
from .request import Request, entries, fresh_meeting
from .sized_program import sized_program
from .thread_memory import ThreadMemory

BRIEF_WORK = 1e7
"""Operations of a run that is over in about 0.2 ms."""


class NativeProgram:
    """A compiled program with buffers for batches of one size."""

    def __init__(self, program: Program, match: Match, batch: int) -> None:
        self.program, self.match, self.batch = program, match, batch
        self.compiled, self.here = match.compiled, match.leaves
        self.lengths = Lengths(batch, match.widths)
        self.sized = sized_program(self.compiled, self.lengths)
        self.state = {self.here[x]: b.slot for x, b in self.compiled.state.items()}
        self.arrays = self._buffers()  # by slot
        self.slots = np.zeros(len(self.compiled.buffers), np.int64)
        for slot, array in self.arrays.items():
            self.slots[slot] = start_of(array)
        self.numbers = self.sized.numbers.copy()
        places = self.numbers.ctypes.data + self.numbers.itemsize * self.sized.first
        self.calls = np.column_stack([self.sized.functions, places])
        self.data: dict[int, Array] = {}  # by kernel
        self.readings: dict[int, Reading | None] = {}  # by slot
        self.marks: dict[int, Array] = {}  # by slot
        self.own: list[ThreadMemory] = []  # by thread
        self.seen = -1  # the memory as this program left it
        self.request = Request(self.sized.request)
        self.request.set(slots=self.slots, calls=self.calls)

    def _buffers(self) -> dict[int, Array]:
        """All but those of the state. What is swapped with state is a block by itself, since it
        may outlive the others."""
        sizes, swapped = self.sized.sizes, {new for _, new in self.compiled.swaps}
        together = [slot for slot in sizes if slot not in swapped]
        blocks = [together, *([slot] for slot in swapped)]
        arrays: dict[int, Array] = {}
        shared = self.compiled.reuse.shared
        for slots in blocks:
            arrays |= zip(slots, allocate([sizes[slot] for slot in slots]), strict=True)
        arrays |= {slot: arrays[place] for slot, place in shared.items() if place in arrays}
        for value, buffer in self.compiled.constants:
            held = self.lengths.elements(arrays[buffer.slot], buffer.space)
            held = held if buffer.dtype == "float" else held.view(np.int32)
            held[:] = value.reshape(held.shape)
        return arrays

    def run(self, memory: Memory, feed: Feed, crew: Crew) -> Outputs:
        """Run over the feed; `memory` has the state before, and then the state after."""
        self._take_state(memory)
        self._take_data(feed)
        sizes = feed.sizes
        uniforms, keys = self.compiled.tables.values(feed, sizes, self.here)
        with np.errstate(over="ignore"):  # a rate of 1e39 is infinite in float32
            uniforms = np.ascontiguousarray(uniforms, np.float32)
        rows = int(sizes.sum())
        values = np.zeros((len(sizes), len(self.compiled.scalars)), np.float32)
        found = {name: self._empty(name, rows) for name in self.compiled.matrices}
        order = np.arange(rows) if feed.order is None else feed.order
        self.request.set(
            scalar_values=values,
            matrices=entries([self._target(name, array) for name, array in found.items()], 4),
            order=np.ascontiguousarray(order, np.int64),
            rows=feed.rows,
            epochs=feed.epochs,
            uniforms=uniforms,
            n_uniforms=uniforms.shape[1],
            keys=keys,
            n_keys=keys.shape[1],
            meeting=fresh_meeting(),  # before the run: no step of it is done yet
        )
        work = self.sized.work
        try:
            own = self._own(crew.size_for(work * self.batch))
            self.request.run(crew, own, work * rows < BRIEF_WORK)
        finally:  # also where a signal's handler raises: the steps are made
            done = self.request.done
            self._give_state(memory, done)
        outputs = {name: values[:done, i] for i, name in enumerate(self.compiled.scalars)}
        for name, array in found.items():
            outputs[name] = self._shaped(name, array[: sizes[:done].sum()])
        return {name: outputs[name] for name in self.program.outputs}

    def _own(self, threads: int) -> list[ThreadMemory]:
        del self.own[threads:]
        while len(self.own) < threads:
            self.own.append(ThreadMemory(len(self.slots), self.sized.windows))
        return self.own

    def _take_state(self, memory: Memory) -> None:
        for leaf, slot in self.state.items():
            array = memory.arrays[leaf]
            if self.arrays.get(slot) is not array:
                self.arrays[slot] = array
                self.slots[slot] = start_of(array)
        for old, new in self.compiled.aliases:
            self.arrays[new], self.slots[new] = self.arrays[old], self.slots[old]
        if memory.changes != self.seen:
            self._turn_weights()

    def _give_state(self, memory: Memory, done: int) -> None:
        """The driver has swapped the addresses at each step."""
        if done % 2:
            for old, new in self.compiled.swaps:
                self.arrays[old], self.arrays[new] = self.arrays[new], self.arrays[old]
        for leaf, slot in self.state.items():
            memory.arrays[leaf] = self.arrays[slot]
        if self.program.updates:
            memory.changes += 1
            self.seen = memory.changes

    def _take_data(self, feed: Feed) -> None:
        """Tell the gathers where the rows are, and the products, where no gather is needed."""
        for number, kernel, leaf in self.compiled.gathers:
            data = feed.data[self.here[leaf]]
            if self.data.get(number) is data:  # a copy is never that: its origin may change
                continue
            self.data.pop(number, None)  # until all is told of the new data
            source = gatherable(data, kernel.into.dtype)
            self._read_from(source, number, kernel.into)
            self.data[number] = source

    def _read_from(self, source: Array, gather: int, into: Buffer) -> None:
        slot = into.slot
        products = self.compiled.products[slot]
        way = reading(source, bool(products), slot in self.compiled.reuse.for_products)
        if way != self.readings.get(slot, USUAL):
            self._read_by(way, gather, into)
        self.numbers[self.sized.first[gather]] = source.ctypes.data
        if slot in self.arrays:
            self.slots[slot] = start_of(self.arrays[slot])
            if way.in_place:
                self.slots[slot] = source.ctypes.data

    def _read_by(self, way: Reading, gather: int, into: Buffer) -> None:
        """Tell the gather and its products of another way."""
        slot, products = into.slot, self.compiled.products[into.slot]
        self.readings[slot] = None  # until all are told
        wanted = [way.gather, *(["skipping product"] if way.marked else [])]
        self.calls[gather, 0], *skipping = addresses(wanted)
        for product in products:
            usual, _ = self.compiled.code[product]
            self.calls[product, 0] = skipping[0] if way.marked else usual.address
        stride, columns = self.sized.form(into)
        marks = empty_marks(self.batch, columns if way.marked else 0)
        of_data = {
            "row length": columns if way.in_place else stride,
            "ordered": way.in_place,
            "marks": marks.ctypes.data,
            "marks stride": marks.strides[0],
        }
        for place, kind, of in self.sized.of_data:
            if of == slot:
                self.numbers[place] = of_data[kind]
        self.marks[slot] = marks  # which its address does not keep
        self.readings[slot] = way

    def _empty(self, name: str, rows: int) -> Array:
        return np.zeros((rows, self.sized.form(self.compiled.shown[name])[1]), np.float32)

    def _target(self, name: str, into: Array) -> tuple[int, ...]:
        """An output for the driver: where it is, and where its rows go."""
        shown = self.compiled.shown[name]
        return (shown.slot, *self.sized.form(shown), into.ctypes.data)

    def _shaped(self, name: str, matrix: Array) -> Array:
        output = self.program.outputs[name]
        matrix = matrix if output.dtype == "float" else matrix.view(np.int32)
        return matrix.reshape(-1, *shapes.resolve(output.shape[1:], None))

    def _turn_weights(self) -> None:
        """Make the transposes that are kept, of weights that somebody else has changed."""
        for into, source in self.compiled.transposes:
            matrix = self.lengths.elements(self.arrays[source.slot], source.space)
            self.lengths.elements(self.arrays[into.slot], into.space)[:] = matrix.T
