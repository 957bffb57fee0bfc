"""Small helpers for writing LLVM IR: loops, variables, pointers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

I64 = ir.IntType(64)
Value = Any


def integer(value: int) -> ir.Constant:
    """A 64-bit constant."""
    return ir.Constant(I64, value)


@dataclass
class Carried:
    """A value that a loop changes from one time to the next."""

    value: Value


@contextmanager
def loop(
    b: ir.IRBuilder,
    start: Value,
    stop: Value,
    step: int | Value = 1,
    carried: Sequence[Carried] = (),
) -> Iterator[Value]:
    """`for i in range(start, stop, step)`; the body sets the values that are carried."""
    before = b.block
    head = b.append_basic_block("head")
    body = b.append_basic_block("body")
    after = b.append_basic_block("after")
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(I64, "i")
    i.add_incoming(start, before)
    phis = [b.phi(x.value.type) for x in carried]
    for x, phi in zip(carried, phis, strict=True):
        phi.add_incoming(x.value, before)
        x.value = phi
    b.cbranch(b.icmp_signed("<", i, stop), body, after)
    b.position_at_end(body)
    yield i
    step = integer(step) if isinstance(step, int) else step
    i.add_incoming(b.add(i, step), b.block)
    for x, phi in zip(carried, phis, strict=True):
        phi.add_incoming(x.value, b.block)
        x.value = phi
    b.branch(head)
    b.position_at_end(after)


def declared(b: ir.IRBuilder, name: str, result: ir.Type, *operands: ir.Type) -> ir.Function:
    """A function that is defined elsewhere: an intrinsic, or one of the system's."""
    kind = ir.FunctionType(result, operands)
    return b.module.globals.get(name) or ir.Function(b.module, kind, name)


def smaller(b: ir.IRBuilder, x: Value, y: Value) -> Value:
    """The smaller of two whole numbers."""
    return b.select(b.icmp_signed("<", x, y), x, y)


def larger(b: ir.IRBuilder, x: Value, y: Value) -> Value:
    """The larger of two whole numbers."""
    return b.select(b.icmp_signed(">", x, y), x, y)


def variable(b: ir.IRBuilder, initial: Value) -> Value:
    """A variable on the stack, which LLVM turns into a register."""
    with b.goto_entry_block():
        place = b.alloca(initial.type)
    b.store(initial, place)
    return place


def load_at(b: ir.IRBuilder, pointer: Value, index: Value) -> Value:
    """pointer[index]."""
    return b.load(b.gep(pointer, [index]))


def vector_at(b: ir.IRBuilder, pointer: Value, index: Value, kind: ir.VectorType) -> Value:
    """A pointer to the vector that starts at pointer[index]."""
    return b.bitcast(b.gep(pointer, [index]), kind.as_pointer())


def load_vector(
    b: ir.IRBuilder, pointer: Value, index: Value, kind: ir.VectorType, align: int = 4
) -> Value:
    """The vector that starts at pointer[index], which need not be at a multiple of its size."""
    return b.load(vector_at(b, pointer, index, kind), align=align)


def store_vector(b: ir.IRBuilder, value: Value, pointer: Value, index: Value) -> None:
    """Store a vector at pointer[index]."""
    b.store(value, vector_at(b, pointer, index, value.type), align=4)


def prefetch(b: ir.IRBuilder, pointer: Value, index: Value) -> None:
    """Ask for the line of pointer[index], long before it is read; it may lie anywhere."""
    i32, bytes_ = ir.IntType(32), ir.IntType(8).as_pointer()
    function = declared(b, "llvm.prefetch.p0", ir.VoidType(), bytes_, i32, i32, i32)
    read, keep, is_data = (ir.Constant(i32, n) for n in (0, 3, 1))
    b.call(function, [b.bitcast(b.gep(pointer, [index]), bytes_), read, keep, is_data])


def splat(b: ir.IRBuilder, value: Value, lanes: int) -> Value:
    """The value in every lane."""
    kind = ir.VectorType(value.type, lanes)
    single = b.insert_element(
        ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)  # all 0
    return b.shuffle_vector(single, ir.Constant(kind, ir.Undefined), mask)


def fold(b: ir.IRBuilder, value: Value, lanes: int, combine: Any) -> Value:
    """Combine all lanes into one, by halves: the order of a sum is fixed."""
    i32 = ir.IntType(32)
    while lanes > 1:
        lanes //= 2
        kind = ir.VectorType(i32, lanes)
        low = b.shuffle_vector(value, value, ir.Constant(kind, list(range(lanes))))
        high = b.shuffle_vector(value, value, ir.Constant(kind, list(range(lanes, 2 * lanes))))
        value = combine(low, high)
    return b.extract_element(value, ir.Constant(i32, 0))
