"""How a kernel is called, and what its code can read.

A kernel's function is given the context of the step, numbers of its own, and the rows that it is to
do. Widths and places are among its numbers, so other widths are no other code.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .build import I64, integer, load_at
from .emit import F32, I32
from .kernels import Buffer

FLOATS, INTS, LONGS = (kind.as_pointer() for kind in (F32, I32, I64))
SIGNATURE = ir.FunctionType(ir.VoidType(), [LONGS, LONGS, I64, I64])

CONTEXT = ("slots", "rows", "grain", "grains", "uniforms", "keys", "order", "left", "counting")
"""What is the same for all kernels of a step: addresses of the buffers by slot, of the step's
uniform values, random keys and row numbers; how many rows, rows to a grain, and grains of rows; how
many rows are left in the epoch; and where 0, 1, 2, … stand."""

Number = tuple[str, Any]
"""What a kernel's own number says, and of what: a length, a slot, a stride, a place in a table."""

OF_DATA = ("row length", "ordered", "marks", "marks stride")
"""Kinds of numbers that depend on the data: how far apart rows lie, and whether among others in the
order of the batch; where the marks of a batch are, and how many bytes eight rows have."""

Value = Any


class Call:
    """The function of a kernel while it is written, and the numbers that it will be given."""

    def __init__(self, module: ir.Module, name: str) -> None:
        self.function = ir.Function(module, SIGNATURE, name)
        self.context, self.own, self.start, self.stop = self.function.args
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.numbers: list[Number] = []

    def number(self, kind: str, what: Any) -> Value:
        """The next of the kernel's own numbers."""
        self.numbers.append((kind, what))
        return load_at(self.b, self.own, integer(len(self.numbers) - 1))

    def length(self, kind: str, what: Any) -> Value:
        """A number that may depend on the rows of the batch."""
        return varying(self.b, self.number(kind, what), self.context)

    def shared(self, name: str, kind: ir.Type) -> Value:
        """A part of the context, as a pointer."""
        return self.b.inttoptr(load_at(self.b, self.context, integer(CONTEXT.index(name))), kind)

    def pointer(self, buffer: Buffer | str) -> Value:
        """Where a buffer is in this step."""
        slots = self.shared("slots", FLOATS.as_pointer())
        return load_at(self.b, slots, self.number("slot", buffer))

    def stride(self, buffer: Buffer | str) -> Value:
        """The distance of a buffer's rows."""
        return self.number("stride", buffer)


def varying(b: ir.IRBuilder, number: Value, context: Value) -> Value:
    """A number, or where it is below 0, what the context has at that place."""
    varies = b.icmp_signed("<", number, integer(0))
    place = b.select(varies, b.neg(number), integer(0))
    return b.select(varies, load_at(b, context, place), number)
