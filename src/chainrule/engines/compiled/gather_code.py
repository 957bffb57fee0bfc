"""LLVM IR that brings the rows of a batch together."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .build import I64, integer, load_at, loop, store_vector
from .call import LONGS, Call, Number
from .emit import F32, I32
from .kernels import Gather

SOURCES: dict[str, ir.Type] = {"uint8": ir.IntType(8), "float32": F32, "int64": I64}
"""The types of data that a batch can be gathered from."""


def write_gather(module: ir.Module, name: str, source: str, lanes: int) -> list[Number]:
    """Copy rows to their buffer: bytes and floats as floats, class numbers as int."""
    call = Call(module, name)
    b = call.b
    data = b.inttoptr(call.number("data", "into"), SOURCES[source].as_pointer())
    into, stride = call.pointer("into"), call.stride("into")
    columns = call.length("length", "columns")
    order = call.shared("order", LONGS)
    with loop(b, call.start, call.stop) as i:
        start = b.mul(load_at(b, order, i), columns)
        target = b.mul(i, stride)
        whole = b.mul(b.sdiv(columns, integer(lanes)), integer(lanes))
        with loop(b, integer(0), whole, lanes) as j:
            place = b.gep(data, [b.add(start, j)])
            vector = ir.VectorType(SOURCES[source], lanes)
            values = b.load(b.bitcast(place, vector.as_pointer()), align=1)
            store_vector(b, _as_memory(b, values, lanes), into, b.add(target, j))
        with loop(b, whole, columns) as j:
            value = _as_memory(b, load_at(b, data, b.add(start, j)), None)
            b.store(value, b.gep(into, [b.add(target, j)]))
    b.ret_void()
    return call.numbers


def gather_numbers(gather: Gather) -> list[Number]:
    """The numbers of a certain gather, in the order in which its code reads them."""
    into = gather.into
    kinds = [("data", into), ("slot", into), ("stride", into)]
    return [*kinds, ("length", into.space.columns)]


def _as_memory(b: ir.IRBuilder, value: Any, lanes: int | None) -> Any:
    """Bytes as floats, and class numbers as 32 bits in the place of floats."""
    floats, ints = (kind if lanes is None else ir.VectorType(kind, lanes) for kind in (F32, I32))
    source = value.type if lanes is None else value.type.element
    if source == SOURCES["uint8"]:
        return b.uitofp(value, floats)
    return b.bitcast(b.trunc(value, ints), floats) if source == SOURCES["int64"] else value
