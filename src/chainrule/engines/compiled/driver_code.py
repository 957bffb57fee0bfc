"""LLVM IR for the driver: all the steps of a run, without a return to Python."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .build import I64, integer, load_at, loop, variable
from .emit import F32, I32
from .loop_code import FLOATS, INTS, LONGS, SIGNATURE

BYTES = ir.IntType(8).as_pointer()
GATHER = ir.FunctionType(ir.VoidType(), [FLOATS, I64, BYTES, LONGS, I64, I64])

FIELDS = (
    "slots", "calls", "n_calls", "gathers", "n_gathers", "scalars", "n_scalars", "scalar_values",
    "matrices", "n_matrices", "swaps", "n_swaps", "watched", "order", "batch", "rows",
    "uniforms", "n_uniforms", "keys", "n_keys",
)  # fmt: skip
"""What the driver is given: addresses and counts, one 64-bit number each.

| list | numbers of an entry |
| --- | --- |
| calls | function, its numbers |
| gathers | function, source, slot, stride, columns |
| scalars | slot |
| matrices | slot, stride, columns, target |
| swaps | slot, slot |
"""

SOURCES: dict[str, ir.Type] = {"uint8": ir.IntType(8), "float32": F32, "int64": I64}
"""The types of data that a batch can be gathered from."""


def write_gather(module: ir.Module, name: str, source: str) -> None:
    """Copy the rows of a batch to its buffer: bytes and floats as floats, class numbers as int."""
    function = ir.Function(module, GATHER, name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    into, stride, data, order, rows, columns = function.args
    data = b.bitcast(data, SOURCES[source].as_pointer())
    with loop(b, integer(0), rows) as i:
        start = b.mul(load_at(b, order, i), columns)
        target = b.mul(i, stride)
        with loop(b, integer(0), columns) as j:
            value = load_at(b, data, b.add(start, j))
            if source == "uint8":
                value = b.uitofp(value, F32)
            elif source == "int64":
                value = b.bitcast(b.trunc(value, I32), F32)
            b.store(value, b.gep(into, [b.add(target, j)]))
    b.ret_void()


def write_driver(module: ir.Module, name: str) -> None:
    """For each batch: gather, call the kernels, put out, check, and take over the new state.

    Returns how many steps were done: fewer than there are where the watched value is not finite.
    """
    function = ir.Function(module, ir.FunctionType(I64, [LONGS]), name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    (fields,) = function.args
    f = {name: load_at(b, fields, integer(i)) for i, name in enumerate(FIELDS)}
    for name in ("calls", "gathers", "scalars", "matrices", "swaps", "order"):
        f[name] = b.inttoptr(f[name], LONGS)
    slots = b.inttoptr(f["slots"], FLOATS.as_pointer())
    values = b.inttoptr(f["scalar_values"], FLOATS)
    uniforms, keys = b.inttoptr(f["uniforms"], FLOATS), b.inttoptr(f["keys"], INTS)
    done = variable(b, integer(0))
    ended = b.append_basic_block("ended")
    with loop(b, integer(0), f["rows"]) as counter:
        step = b.load(done)
        start = b.mul(step, f["batch"])
        with b.if_then(b.icmp_signed(">=", start, f["rows"])):
            b.branch(ended)
        left = b.sub(f["rows"], start)
        rows = b.select(b.icmp_signed("<", left, f["batch"]), left, f["batch"])
        order = b.gep(f["order"], [start])
        with loop(b, integer(0), f["n_gathers"]) as i:
            gather, source, slot, stride, columns = _entry(b, f["gathers"], i, 5)
            b.call(
                b.inttoptr(gather, GATHER.as_pointer()),
                [load_at(b, slots, slot), stride, b.inttoptr(source, BYTES), order, rows, columns],
            )
        own_uniforms = b.gep(uniforms, [b.mul(step, f["n_uniforms"])])
        own_keys = b.gep(keys, [b.mul(step, f["n_keys"])])
        with loop(b, integer(0), f["n_calls"]) as i:
            kernel, numbers = _entry(b, f["calls"], i, 2)
            kernel = b.inttoptr(kernel, SIGNATURE.as_pointer())
            b.call(kernel, [slots, b.inttoptr(numbers, LONGS), rows, own_uniforms, own_keys])
        with b.if_then(b.icmp_signed(">=", f["watched"], integer(0))):
            watched = b.load(load_at(b, slots, f["watched"]))
            with b.if_then(b.not_(_is_finite(b, watched))):
                b.branch(ended)
        with loop(b, integer(0), f["n_scalars"]) as i:
            (slot,) = _entry(b, f["scalars"], i, 1)
            at = b.add(b.mul(step, f["n_scalars"]), i)
            b.store(b.load(load_at(b, slots, slot)), b.gep(values, [at]))
        with loop(b, integer(0), f["n_matrices"]) as i:
            slot, stride, columns, target = _entry(b, f["matrices"], i, 4)
            source, target = load_at(b, slots, slot), b.inttoptr(target, FLOATS)
            with loop(b, integer(0), rows) as row, loop(b, integer(0), columns) as column:
                value = load_at(b, source, b.add(b.mul(row, stride), column))
                at = b.add(b.mul(b.add(start, row), columns), column)
                b.store(value, b.gep(target, [at]))
        with loop(b, integer(0), f["n_swaps"]) as i:
            old, new = (b.gep(slots, [slot]) for slot in _entry(b, f["swaps"], i, 2))
            held, fresh = b.load(old), b.load(new)
            b.store(fresh, old)
            b.store(held, new)
        b.store(b.add(step, integer(1)), done)
        del counter
    b.branch(ended)
    b.position_at_end(ended)
    b.ret(b.load(done))


def _entry(b: ir.IRBuilder, table: Any, i: Any, width: int) -> list[Any]:
    start = b.mul(i, integer(width))
    return [load_at(b, table, b.add(start, integer(j))) for j in range(width)]


def _is_finite(b: ir.IRBuilder, value: Any) -> Any:
    bits = b.bitcast(value, I32)
    exponent = ir.Constant(I32, 0x7F800000)
    return b.icmp_signed("!=", b.and_(bits, exponent), exponent)
