"""LLVM IR that brings the rows of a batch together."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .build import (
    I64,
    Carried,
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

I8 = ir.IntType(8)
BYTES = I8.as_pointer()

SOURCES: dict[str, ir.Type] = {"uint8": I8, "float32": F32, "int64": I64}
"""The types of data that a batch can be gathered from."""

MARKED = ("uint8", "float32")
"""Those in which zeros can be marked."""

SIZES = {"uint8": 1, "float32": 4, "int64": 8}

FEWEST_AHEAD, MOST_AHEAD, BYTES_AHEAD = 8, 64, 8192
"""How many rows before it is copied a row is asked for: the shorter the rows, the more, so that as
many lines are under way. Rows of 16 bytes take 15 ns each at 32, and 30 ns at 8."""


def write_gather(
    module: ir.Module,
    name: str,
    source: str,
    lanes: int,
    copies: bool = True,
    marks: bool = False,
) -> list[Number]:
    """Copy rows to their buffer: bytes and floats as floats, class numbers as int.

    Where `marks`, tell of each number by a bit whether it is other than 0: a byte for each eight
    numbers of a row, and the bytes of eight rows for the same columns side by side.
    """
    call = Call(module, name)
    b = call.b
    kind = SOURCES[source]
    data = b.inttoptr(call.number("data", "into"), kind.as_pointer())
    into, stride = call.pointer("into"), call.stride("into")
    columns = call.length("length", "columns")
    marks_start = b.inttoptr(call.number("marks", "into"), BYTES)
    marks_stride = call.number("marks stride", "into")
    order = call.shared("order", LONGS)
    last = b.sub(load_at(b, call.context, integer(CONTEXT.index("left"))), integer(1))
    bytes_a_row = b.mul(columns, integer(SIZES[source]))
    ahead = b.sdiv(integer(BYTES_AHEAD), larger(b, bytes_a_row, integer(1)))
    ahead = larger(b, smaller(b, ahead, integer(MOST_AHEAD)), integer(FEWEST_AHEAD))
    with loop(b, call.start, call.stop) as i:
        later = load_at(b, order, smaller(b, b.add(i, ahead), last))
        _ask_for(b, data, b.mul(later, columns), bytes_a_row)
        row = b.gep(data, [b.mul(load_at(b, order, i), columns)])
        if copies:
            target = b.gep(into, [b.mul(i, stride)])
            _copy(b, row, columns, target, lanes)
            row = target
        if marks:
            own = b.gep(marks_start, [marks_of_row(b, i, marks_stride)])
            _mark(b, row, columns, own, max(lanes, 8))
    b.ret_void()
    return call.numbers


def _copy(b: ir.IRBuilder, row: Any, columns: Any, into: Any, lanes: int) -> None:
    kind = row.type.pointee

    def copy(start: Any, count: int) -> None:
        values = load_vector(b, row, start, ir.VectorType(kind, count), align=1)
        store_vector(b, _as_memory(b, values, count), into, start)

    whole = b.mul(b.sdiv(columns, integer(lanes)), integer(lanes))
    with loop(b, integer(0), whole, lanes) as j:
        copy(j, lanes)
    done = whole
    for part in _halves(lanes):  # masked vectors took 5 ns a row of 4 columns longer
        rest = b.and_(columns, integer(part))
        with b.if_then(b.icmp_signed("!=", rest, integer(0))):
            copy(done, part)
        done = b.add(done, rest)


def marks_of_row(b: ir.IRBuilder, row: Any, stride: Any) -> Any:
    """Where a row's marks begin, if those of eight rows take so many bytes. The byte for columns
    from j on is the j-th from there, since seven other rows have theirs between."""
    return b.add(b.mul(b.ashr(row, integer(3)), stride), b.and_(row, integer(7)))


def _mark(b: ir.IRBuilder, row: Any, columns: Any, marks: Any, lanes: int) -> None:
    """Whole vectors, and what is left of the row one by one."""
    whole = b.mul(b.sdiv(columns, integer(lanes)), integer(lanes))
    floats, bits = ir.VectorType(F32, lanes), ir.IntType(lanes)

    def store(some: Any, start: Any) -> None:
        for i in range(0, lanes, 8):
            byte = b.trunc(b.lshr(some, ir.Constant(bits, i)), I8)
            b.store(byte, b.gep(marks, [b.add(start, integer(i))]))

    with loop(b, integer(0), whole, lanes) as j:
        values = load_vector(b, row, j, floats)
        store(b.bitcast(b.fcmp_unordered("!=", values, ir.Constant(floats, None)), bits), j)
    with b.if_then(b.icmp_signed("<", whole, columns)):
        some = Carried(ir.Constant(bits, 0))
        with loop(b, whole, columns, carried=[some]) as j:
            other = b.fcmp_unordered("!=", load_at(b, row, j), ir.Constant(F32, 0.0))
            place = b.trunc(b.sub(j, whole), bits)
            some.value = b.or_(some.value, b.shl(b.zext(other, bits), place))
        store(some.value, whole)


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
    return [*kinds, ("length", into.space.columns), ("marks", into), ("marks stride", into)]


def _as_memory(b: ir.IRBuilder, values: Any, lanes: int) -> Any:
    """Bytes as floats, and class numbers as 32 bits in the place of floats."""
    floats, ints = (ir.VectorType(kind, lanes) for kind in (F32, I32))
    kind = values.type.element
    if kind == SOURCES["uint8"]:
        return b.uitofp(values, floats)
    return b.bitcast(b.trunc(values, ints), floats) if kind == SOURCES["int64"] else values
