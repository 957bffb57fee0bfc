"""LLVM IR that brings the rows of a batch together."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .build import (
    I64,
    integer,
    larger,
    load_at,
    load_vector,
    loop,
    prefetch,
    smaller,
    store_vector,
)
from .call import CONTEXT, LONGS, Call, Number
from .emit import F32, I32
from .kernels import Gather
from .memory import CACHE_LINE

BYTES = ir.IntType(8).as_pointer()

SOURCES: dict[str, ir.Type] = {"uint8": ir.IntType(8), "float32": F32, "int64": I64}
"""The types of data that a batch can be gathered from."""

SIZES = {"uint8": 1, "float32": 4, "int64": 8}

FEWEST_AHEAD, MOST_AHEAD, BYTES_AHEAD = 8, 64, 8192
"""How many rows before it is copied a row is asked for: the shorter the rows, the more, so that as
many lines are under way. Rows of 16 bytes take 15 ns each at 32, and 30 ns at 8."""


def write_gather(module: ir.Module, name: str, source: str, lanes: int) -> list[Number]:
    """Copy rows to their buffer: bytes and floats as floats, class numbers as int."""
    call = Call(module, name)
    b = call.b
    kind = SOURCES[source]
    data = b.inttoptr(call.number("data", "into"), kind.as_pointer())
    into, stride = call.pointer("into"), call.stride("into")
    columns = call.length("length", "columns")
    order = call.shared("order", LONGS)
    whole = b.mul(b.sdiv(columns, integer(lanes)), integer(lanes))
    last = b.sub(load_at(b, call.context, integer(CONTEXT.index("left"))), integer(1))
    bytes_a_row = b.mul(columns, integer(SIZES[source]))
    ahead = b.sdiv(integer(BYTES_AHEAD), larger(b, bytes_a_row, integer(1)))
    ahead = larger(b, smaller(b, ahead, integer(MOST_AHEAD)), integer(FEWEST_AHEAD))
    with loop(b, call.start, call.stop) as i:
        later = load_at(b, order, smaller(b, b.add(i, ahead), last))
        _ask_for(b, data, b.mul(later, columns), bytes_a_row)
        start, target = b.mul(load_at(b, order, i), columns), b.mul(i, stride)
        with loop(b, integer(0), whole, lanes) as j:
            values = load_vector(b, data, b.add(start, j), ir.VectorType(kind, lanes), align=1)
            store_vector(b, _as_memory(b, values, lanes), into, b.add(target, j))
        done = whole
        for part in _halves(lanes):  # masked vectors took 5 ns a row of 4 columns longer
            rest = b.and_(columns, integer(part))
            with b.if_then(b.icmp_signed("!=", rest, integer(0))):
                values = load_vector(
                    b, data, b.add(start, done), ir.VectorType(kind, part), align=1
                )
                store_vector(b, _as_memory(b, values, part), into, b.add(target, done))
            done = b.add(done, rest)
    b.ret_void()
    return call.numbers


def _halves(lanes: int) -> list[int]:
    """Smaller and smaller vectors: of what is left of a row, each is filled or not at all."""
    return [lanes >> i for i in range(1, lanes.bit_length())]


def _ask_for(b: ir.IRBuilder, data: Any, start: Any, length: Any) -> None:
    """Ask for the lines of a row, long before they are read."""
    row = b.bitcast(b.gep(data, [start]), BYTES)
    with loop(b, integer(0), length, CACHE_LINE) as line:
        prefetch(b, row, line)


def gather_numbers(gather: Gather) -> list[Number]:
    """The numbers of a certain gather, in the order in which its code reads them."""
    into = gather.into
    kinds = [("data", into), ("slot", into), ("stride", into)]
    return [*kinds, ("length", into.space.columns)]


def _as_memory(b: ir.IRBuilder, values: Any, lanes: int) -> Any:
    """Bytes as floats, and class numbers as 32 bits in the place of floats."""
    floats, ints = (ir.VectorType(kind, lanes) for kind in (F32, I32))
    kind = values.type.element
    if kind == SOURCES["uint8"]:
        return b.uitofp(values, floats)
    return b.bitcast(b.trunc(values, ints), floats) if kind == SOURCES["int64"] else values
