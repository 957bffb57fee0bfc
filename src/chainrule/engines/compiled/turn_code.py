"""LLVM IR for a transposed copy: square blocks are turned in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from .build import integer, load_at, load_vector, loop, smaller, store_vector
from .call import Call, Number
from .emit import F32, I32
from .kernels import Turn


def write_turn(module: ir.Module, name: str, lanes: int) -> list[Number]:
    """A function that turns some rows of a matrix into columns; its numbers, of "a" and "into"."""
    call = Call(module, name)
    b = call.b
    a, into = call.pointer("a"), call.pointer("into")
    a_stride, into_stride = call.stride("a"), call.stride("into")
    columns = call.length("length", "columns")
    side = integer(lanes)
    tall = b.icmp_signed(">=", b.sub(call.stop, call.start), side)
    square = b.and_(tall, b.icmp_signed(">=", columns, side))
    with b.if_else(square) as (blocks, singly):
        with blocks:
            # The last block of rows, or of columns, overlaps the one before it.
            last_row, last_column = b.sub(call.stop, side), b.sub(columns, side)
            with (
                loop(b, call.start, call.stop, lanes) as i,
                loop(b, integer(0), columns, lanes) as j,
            ):
                row, column = smaller(b, i, last_row), smaller(b, j, last_column)
                _turn_block(b, lanes, (a, a_stride, row, column), (into, into_stride, column, row))
        with singly, loop(b, call.start, call.stop) as i, loop(b, integer(0), columns) as j:
            value = load_at(b, a, b.add(b.mul(i, a_stride), j))
            b.store(value, b.gep(into, [b.add(b.mul(j, into_stride), i)]))
    b.ret_void()
    return call.numbers


def turn_numbers(numbers: Sequence[Number], turn: Turn) -> list[Number]:
    """The numbers of a certain transposed copy."""
    what = {"a": turn.a, "into": turn.into, "columns": turn.a.space.columns}
    return [(kind, what[name]) for kind, name in numbers]


def _turn_block(b: ir.IRBuilder, lanes: int, source: Any, target: Any) -> None:
    """As many rows as lanes: exchange halves, then quarters of each half, and so on."""
    kind = ir.VectorType(F32, lanes)
    pointer, stride, row, column = source
    rows = [
        load_vector(b, pointer, b.add(b.mul(b.add(row, integer(i)), stride), column), kind)
        for i in range(lanes)
    ]
    half = lanes // 2
    while half:
        lower = [j if not j & half else lanes + j - half for j in range(lanes)]
        upper = [j + half if not j & half else lanes + j for j in range(lanes)]
        for i in (i for i in range(lanes) if not i & half):
            x, y = rows[i], rows[i + half]
            rows[i], rows[i + half] = _pick(b, x, y, lower), _pick(b, x, y, upper)
        half //= 2
    pointer, stride, row, column = target
    for i, vector in enumerate(rows):
        store_vector(b, vector, pointer, b.add(b.mul(b.add(row, integer(i)), stride), column))


def _pick(b: ir.IRBuilder, x: Any, y: Any, lanes: list[int]) -> Any:
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))
