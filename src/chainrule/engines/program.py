"""A program: what one step reads, puts out, and updates. An engine runs it over a feed of rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..errors import ShapeError
from ..graph import shape as shapes
from ..graph.leaves import STATE_OPS, input_op, scalar_op
from ..graph.shape import N
from ..graph.tensor import Array, Tensor
from ..graph.text import listing
from ..graph.walk import toposort
from ..locks import cached_property


@dataclass(frozen=True, eq=False)
class Program:
    """One step over a batch of rows.

    An output is either a scalar, of which a run gives one a step, or has a row for each row of the
    batch, and a run gives them all. All `updates` happen at once, after every value is computed.
    A step whose output `watched` is not finite updates nothing, and the run ends there.
    """

    outputs: Mapping[str, Tensor]
    updates: Mapping[Tensor, Tensor]
    watched: str | None = None

    def __post_init__(self) -> None:
        for name, output in self.outputs.items():
            if output.shape != () and output.shape[0] is not N:
                raise ShapeError(
                    f"output {name} is {shapes.text(output.shape)}, expected a scalar or [N, …]"
                )
        for leaf, value in self.updates.items():
            if leaf.op not in STATE_OPS or leaf.shape != value.shape:
                raise ShapeError(f"{leaf!r} cannot be updated to {value!r}")

    @property
    def results(self) -> list[Tensor]:
        """All that a step computes: the outputs, then the new values of the state."""
        return [*self.outputs.values(), *self.updates.values()]

    @cached_property
    def order(self) -> list[Tensor]:
        """All nodes in the order of computation, and the state that is updated."""
        return toposort([*self.results, *self.updates])

    @property
    def leaves(self) -> list[Tensor]:
        """What a step reads, and the state that it updates."""
        return [node for node in self.order if not node.inputs]

    @property
    def inputs(self) -> list[Tensor]:
        """The leaves that read rows of the data."""
        return [leaf for leaf in self.leaves if leaf.op is input_op]

    @cached_property
    def scalars(self) -> list[Tensor]:
        """The numbers that each step is given."""
        return [leaf for leaf in self.leaves if leaf.op is scalar_op]

    def __str__(self) -> str:
        return listing(self.outputs, self.updates)


@dataclass(frozen=True, eq=False)
class Feed:
    """The rows that a run goes through, a batch at a time; the last batch may be short.

    `order` has the numbers of the rows in the order of use; None takes all as they lie. Of several
    epochs it has the rows of one after those of the other, and each one's last batch may be short.
    `scalars` has for each scalar leaf one value, or an array of one value a step.
    """

    data: Mapping[Tensor, Array]
    batch_size: int
    order: Array | None = None
    scalars: Mapping[Tensor, float | int | Array] = field(default_factory=dict)
    epochs: int = 1

    @property
    def rows(self) -> int:
        """How many rows an epoch goes through."""
        if self.order is not None:
            return len(self.order) // self.epochs
        return len(next(iter(self.data.values())))

    @property
    def sizes(self) -> Array:
        """How many rows each batch has."""
        left = np.arange(self.rows, 0, -self.batch_size)
        return np.tile(np.minimum(left, self.batch_size), self.epochs)


Outputs = dict[str, Array]
"""What a run puts out: for a scalar output one value for each step done, otherwise rows."""


class Engine(Protocol):
    """A machine with a memory for state leaves, which runs programs over feeds."""

    unlocked_seconds: float
    """What it has spent of a processor while another thread could run Python."""

    def read(self, leaf: Tensor) -> Array:
        """A copy of the value of a state leaf."""

    def write(self, leaf: Tensor, value: Array) -> None:
        """Set the value of a state leaf."""

    def is_finite(self, leaf: Tensor) -> bool:
        """Whether all numbers of a state leaf are."""

    def run(self, program: Program, feed: Feed) -> Outputs:
        """Run the program over the rows of the feed, updating the memory at every step."""

    def orders(self, rows: int, seed: int, epochs: range) -> Array:
        """The orders in which epochs take the rows, by chance: those of `graph.random.orders`."""

    def use_threads(self, threads: int | None) -> None:
        """Share the work among that many threads; None: as many as it is worth."""

    def explain(self, program: Program) -> str:
        """The program at each stage of what the engine makes of it."""
