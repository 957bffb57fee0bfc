"""The compiled engine: state in native memory, programs as machine code."""

import numpy as np

from ...graph import shape as shapes
from ...graph.tensor import Array, Tensor
from ...graph.text import listing
from ..program import Feed, Outputs, Program
from .crew import Crew
from .kernels import space_of
from .lower import lower
from .memory import allocate, elements
from .native_program import NativeProgram
from .simplify import simplify


class CompiledEngine:
    """Runs programs as machine code, in float32."""

    def __init__(self, threads: int | None = None) -> None:
        self._crew = Crew(threads)
        self._memory: dict[Tensor, Array] = {}
        self._programs: dict[Program, NativeProgram] = {}

    def read(self, leaf: Tensor) -> Array:
        """A copy of the value of a state leaf."""
        values = elements(self._memory[leaf], space_of(leaf), 0)
        return values.reshape(shapes.resolve(leaf.shape, None)).copy()

    def write(self, leaf: Tensor, value: Array) -> None:
        """Set the value of a state leaf, rounded to float32."""
        space = space_of(leaf)
        if leaf not in self._memory:
            self._memory[leaf] = allocate(space, 0)
        held = elements(self._memory[leaf], space, 0)
        held[:] = np.asarray(value, np.float32).reshape(held.shape)

    def run(self, program: Program, feed: Feed) -> Outputs:
        """Run the program over the rows of the feed, updating the memory at every step."""
        if program not in self._programs:
            self._programs[program] = NativeProgram(program)
        return self._programs[program].run(self._memory, feed, self._crew)

    def explain(self, program: Program) -> str:
        """The graph, the simplified graph, and the kernels that are run in this order."""
        simple = simplify(program.results)
        count = len(program.outputs)
        outputs = dict(zip(program.outputs, simple[:count], strict=True))
        updates = dict(zip(program.updates, simple[count:], strict=True))
        kernels = lower(simple[:count], updates)
        return (
            f"graph\n\n{program}\n\nsimplified graph\n\n{listing(outputs, updates)}\n\n"
            f"kernels\n\n{kernels}"
        )
