"""Kernels: what a program does, as loops over buffers.

A kernel is a `Loop` over a space of rows and columns, whose body is fused elementwise work, or a
`Product` of matrices, a `Turn` (a transposed copy), or a `Gather` of the batch's rows. A value lies
in memory as a matrix: [F] is one row; [N] and [N, 1] are one column, which is walked like a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...errors import InputError
from ...graph import ops
from ...graph.shape import Dim, N
from ...graph.tensor import DType, Tensor
from ...graph.text import brief, is_number

Action = Literal["store", "sum", "max", "argmax", "scatter"]
Over = Literal["nothing", "columns", "rows", "all"]


@dataclass(frozen=True)
class Grains:
    """How many grains a length has: the part of a sum over a grain is taken at one go, in order,
    so that the sum is the same for any number of threads."""

    of: Dim

    def __str__(self) -> str:
        return f"grains({self.of})"


@dataclass(frozen=True)
class Line:
    """How many numbers a matrix takes in memory, where it is seen as one line."""

    rows: int
    columns: int

    def __str__(self) -> str:
        return f"line({self.rows} × {self.columns})"


Length = Dim | Grains | Line


@dataclass(frozen=True)
class Space:
    """The rows and columns that a loop goes through; N stands for the rows of the batch."""

    rows: Length
    columns: Length

    def __str__(self) -> str:
        return f"{self.rows} × {self.columns}"


@dataclass(frozen=True, eq=False)
class Buffer:
    """A place in memory for a value: slot number, logical space, and what it counts in."""

    slot: int
    space: Space
    dtype: DType
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name or 'b'}{self.slot}"


@dataclass(frozen=True, eq=False)
class Sink:
    """What a loop does with a value: store it, or reduce it over the rows or columns first."""

    action: Action
    over: Over
    value: Tensor
    into: Buffer
    index: Buffer | None = None


@dataclass(eq=False)
class Loop:
    """Fused elementwise work: values are loaded, computed and sunk, element by element."""

    space: Space
    loads: dict[Tensor, Buffer] = field(default_factory=dict)
    body: dict[Tensor, None] = field(default_factory=dict)
    sinks: list[Sink] = field(default_factory=list)

    @property
    def reads(self) -> list[Buffer]:
        """The buffers that it reads."""
        return [*self.loads.values(), *(sink.index for sink in self.sinks if sink.index)]

    @property
    def alone(self) -> bool:
        """Whether it takes one thread to do it all."""
        return any(takes_one_thread(self.space, sink) for sink in self.sinks)

    def __str__(self) -> str:
        names = {tensor: str(buffer) for tensor, buffer in self.loads.items()}
        for tensor in self.body:
            names[tensor] = _formula(tensor, names)
        sinks = "; ".join(
            f"{sink.into} = {sink.action}{'' if sink.over == 'nothing' else f' over {sink.over}'} "
            f"{_named(sink.value, names)}"
            for sink in self.sinks
        )
        return f"loop {self.space}: {sinks}"


def _named(x: Tensor, names: Mapping[Tensor, str]) -> str:
    """An operand; one that no name is given to depends on the step's numbers alone."""
    if is_number(x):
        return brief(x.attrs["value"])
    return names.get(x) or x.name or (_formula(x, names) if x.inputs else x.op.name)


def _formula(x: Tensor, names: Mapping[Tensor, str]) -> str:
    return f"({' '.join([x.op.name, *(_named(source_of(y), names) for y in x.inputs)])})"


@dataclass(frozen=True, eq=False)
class Product:
    """into = a @ b, or aᵀ @ b where `turned`; where `in_grains`, a part of that for each grain."""

    a: Buffer
    b: Buffer
    into: Buffer
    turned: bool
    in_grains: bool = False

    @property
    def reads(self) -> list[Buffer]:
        """The buffers that it reads."""
        return [self.a, self.b]

    def __str__(self) -> str:
        grains = ", in grains" if self.in_grains else ""
        return f"product {self.into} = {self.a}{'ᵀ' if self.turned else ''} @ {self.b}{grains}"


@dataclass(frozen=True, eq=False)
class Turn:
    """into = aᵀ."""

    a: Buffer
    into: Buffer

    @property
    def reads(self) -> list[Buffer]:
        """The buffers that it reads."""
        return [self.a]

    def __str__(self) -> str:
        return f"turn {self.into} = {self.a}ᵀ"


@dataclass(frozen=True, eq=False)
class Gather:
    """into = the rows of the data that the batch has."""

    into: Buffer

    @property
    def reads(self) -> list[Buffer]:
        """No buffers."""
        return []

    def __str__(self) -> str:
        return f"gather {self.into}"


Kernel = Loop | Product | Turn | Gather


def space_of(node: Tensor) -> Space:
    """The matrix that a value lies in memory as."""
    match node.shape:
        case ():
            return Space(1, 1)
        case (n,) if n is N:
            return Space(N, 1)
        case (n,):
            return Space(1, n)
        case (n, m):
            return Space(n, m)
    raise InputError(f"{node!r} has more than two axes, which takes engine='reference'")


def source_of(node: Tensor) -> Tensor:
    """What a view looks at, where each element keeps its row and column, or is stretched."""
    while node.op is ops.broadcast_to or (
        node.op in (ops.squeeze, ops.expand_dims) and space_of(node) == space_of(node.inputs[0])
    ):
        node = node.inputs[0]
    return node


def walked(space: Space) -> Space:
    """How a loop walks a space: a single column is walked like a row."""
    return Space(1, space.rows) if space.columns == 1 else space


def lies_along(space: Space) -> Dim | None:
    """The length that threads share the work of a space along; None where one thread has it all.

    Rows of a matrix are shared, and so are the numbers that each row of the batch has.
    """
    space = walked(space)
    if space.rows == 1:
        return N if space.columns is N else None
    return None if isinstance(space.rows, Grains | Line) else space.rows


def reduces_across(space: Space, sink: Sink) -> bool:
    """Whether a sink of a loop combines what different threads have."""
    return sink.over == "all" or sink.over == ("columns" if space.rows == 1 else "rows")


def takes_one_thread(space: Space, sink: Sink) -> bool:
    """Whether a sink cannot be put together from what threads have."""
    return sink.action == "scatter" or (sink.action == "argmax" and reduces_across(space, sink))


def shared_along(kernel: Kernel) -> Dim | None:
    """The length that a kernel's work is shared along; None where one thread does it all."""
    match kernel:
        case Loop(space=space):
            return None if kernel.alone else lies_along(space)
        case Product(in_grains=True):
            return N
        case Product(into=Buffer(space=Space(rows=1))):
            return None  # also where it has N columns: what threads share of a product is rows
        case Turn(a=a):
            return lies_along(a.space)
    return lies_along(kernel.into.space)


def lies_over(kernel: Kernel) -> Length:
    """The length that a kernel goes through, whoever does the work."""
    match kernel:
        case Loop(space=Space(rows=1, columns=columns)):
            return columns
        case Loop(space=Space(rows=rows)):
            return rows
        case Turn(a=a):
            return a.space.rows
    return kernel.into.space.rows
