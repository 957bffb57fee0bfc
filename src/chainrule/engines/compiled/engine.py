"""The compiled engine: state in native memory, programs as machine code."""

import os
import threading
import weakref

import numpy as np

from ...graph import shape as shapes
from ...graph.tensor import Array, Tensor
from ..program import Feed, Outputs, Program
from .assemble import address
from .compiled_program import find_match
from .crew import Crew
from .kernels import space_of
from .memory import FIXED, Memory, allocate
from .native_program import NativeProgram
from .passes import compile_passes
from .random_code import shuffled


class CompiledEngine:
    """Runs programs as machine code, in float32."""

    def __init__(self, threads: int | None = None) -> None:
        self._crew = Crew(threads)
        self._memory = Memory()
        self._programs: dict[Program, NativeProgram] = {}
        self.unlocked_seconds = 0.0
        self._lock = threading.RLock()  # programs have buffers, which one run has to itself
        _engines.add(self)

    def read(self, leaf: Tensor) -> Array:
        """A copy of the value of a state leaf."""
        with self._lock:
            return self._values(leaf).reshape(shapes.resolve(leaf.shape, None)).copy()

    def write(self, leaf: Tensor, value: Array) -> None:
        """Set the value of a state leaf, rounded to float32."""
        space, arrays = space_of(leaf), self._memory.arrays
        with self._lock:
            if leaf not in arrays:
                (arrays[leaf],) = allocate([FIXED.size(space)])
            held = FIXED.elements(arrays[leaf], space)
            held[:] = np.asarray(value, np.float32).reshape(held.shape)
            self._memory.changes += 1

    def is_finite(self, leaf: Tensor) -> bool:
        """Whether all numbers of a state leaf are."""
        with self._lock:
            return bool(np.isfinite(self._values(leaf)).all())

    def _values(self, leaf: Tensor) -> Array:
        return FIXED.elements(self._memory.arrays[leaf], space_of(leaf))

    def run(self, program: Program, feed: Feed) -> Outputs:
        """Run the program over the rows of the feed, updating the memory at every step."""
        with self._lock:
            native = self._native(program, min(feed.batch_size, feed.rows))
            before = native.request.unlocked_seconds
            outputs = native.run(self._memory, feed, self._crew)
            self.unlocked_seconds += native.request.unlocked_seconds - before
            return outputs

    def _native(self, program: Program, batch: int) -> NativeProgram:
        """The program for batches of that size; the buffers for another size are let go."""
        before = self._programs.pop(program, None)
        if before is None:
            native = NativeProgram(program, find_match(program), batch)
        elif before.batch != batch:
            native = NativeProgram(program, before.match, batch)
        else:
            native = before
        self._programs[program] = native
        return native

    def orders(self, rows: int, seed: int, epochs: range) -> Array:
        """The orders in which epochs take the rows."""
        return shuffled(address("shuffle"), rows, seed, epochs)

    def use_threads(self, threads: int | None) -> None:
        """Share the work among that many threads; None: as many as it is worth."""
        self._crew = Crew(threads)

    def explain(self, program: Program) -> str:
        """What is run, after each pass: the graph, a simpler one, kernels, phases."""
        return str(compile_passes(program))

    def release_in_child(self) -> None:
        """No other thread survives a fork: a run of another thread never ends, nor gives its lock
        back. What it has done so far is in memory, in buffers of its program, which goes."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = threading.RLock()
            self._programs = {}


_engines: weakref.WeakSet[CompiledEngine] = weakref.WeakSet()


def _release_in_child() -> None:
    for engine in _engines:
        engine.release_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
