"""LLVM IR for the driver: all the steps of a run, without a return to Python."""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir

from .build import I64, integer, load_at, loop, share, store_vector, variable
from .emit import F32, I32
from .loop_code import FLOATS, INTS, LONGS, SIGNATURE

BYTES = ir.IntType(8).as_pointer()
GATHER = ir.FunctionType(ir.VoidType(), [FLOATS, I64, BYTES, LONGS, I64, I64, I64, I64])
YIELD = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
SPINS = 2000
"""Looks at a barrier before the processor is left to others: some microseconds."""

FIELDS = (
    "slots", "calls", "n_calls", "gathers", "n_gathers", "scalars", "n_scalars", "scalar_values",
    "matrices", "n_matrices", "swaps", "n_swaps", "watched", "order", "batch", "rows",
    "uniforms", "n_uniforms", "keys", "n_keys", "thread", "threads", "barrier",
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


def write_gather(module: ir.Module, name: str, source: str, lanes: int) -> None:
    """Copy the rows of a batch to its buffer: bytes and floats as floats, class numbers as int."""
    function = ir.Function(module, GATHER, name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    into, stride, data, order, rows, columns, thread, threads = function.args
    data = b.bitcast(data, SOURCES[source].as_pointer())
    with loop(b, *share(b, rows, thread, threads)) as i:
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


def _as_memory(b: ir.IRBuilder, value: Any, lanes: int | None) -> Any:
    """Bytes as floats, and class numbers as 32 bits in the place of floats."""
    floats, ints = (kind if lanes is None else ir.VectorType(kind, lanes) for kind in (F32, I32))
    source = value.type if lanes is None else value.type.element
    if source == SOURCES["uint8"]:
        return b.uitofp(value, floats)
    return b.bitcast(b.trunc(value, ints), floats) if source == SOURCES["int64"] else value


def write_driver(module: ir.Module, name: str) -> None:
    """For each batch: gather, call the kernels, put out, check, and take over the new state.

    All threads run it, each doing its share, and wait for each other after each kernel.
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
    thread, threads = f["thread"], f["threads"]
    is_first = b.icmp_signed("==", thread, integer(0))
    wait = _Barrier(b, b.inttoptr(f["barrier"], LONGS), threads)
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
                [
                    load_at(b, slots, slot),
                    stride,
                    b.inttoptr(source, BYTES),
                    order,
                    rows,
                    columns,
                    thread,
                    threads,
                ],
            )
        wait()
        own_uniforms = b.gep(uniforms, [b.mul(step, f["n_uniforms"])])
        own_keys = b.gep(keys, [b.mul(step, f["n_keys"])])
        with loop(b, integer(0), f["n_calls"]) as i:
            kernel, numbers = _entry(b, f["calls"], i, 2)
            kernel = b.inttoptr(kernel, SIGNATURE.as_pointer())
            b.call(
                kernel,
                [slots, b.inttoptr(numbers, LONGS), rows, own_uniforms, own_keys, thread, threads],
            )
            wait()
        with b.if_then(b.icmp_signed(">=", f["watched"], integer(0))):
            watched = b.load(load_at(b, slots, f["watched"]))
            with b.if_then(b.not_(_is_finite(b, watched))):
                b.branch(ended)
        with b.if_then(is_first):
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
        wait()
        b.store(b.add(step, integer(1)), done)
        del counter
    b.branch(ended)
    b.position_at_end(ended)
    b.ret(b.load(done))


class _Barrier:
    """Where threads wait until all have come: a counter, and a generation that the last one ends.

    Memory is ordered by the atomic operations, so what a thread stored before is seen after.
    """

    def __init__(self, b: ir.IRBuilder, state: Any, threads: Any) -> None:
        self.b, self.threads = b, threads
        self.count, self.generation = (b.gep(state, [integer(i * 8)]) for i in (0, 1))
        kind = ir.FunctionType(I32, [])
        self.leave = ir.Function(b.module, kind, YIELD)

    def __call__(self) -> None:
        b = self.b
        with b.if_then(b.icmp_signed(">", self.threads, integer(1))):
            generation = b.load_atomic(self.generation, "acquire", 8)
            come = b.atomic_rmw("add", self.count, integer(1), "acq_rel")
            last = b.icmp_signed("==", b.add(come, integer(1)), self.threads)
            with b.if_else(last) as (then, otherwise):
                with then:
                    b.store_atomic(integer(0), self.count, "monotonic", 8)
                    b.store_atomic(b.add(generation, integer(1)), self.generation, "release", 8)
                with otherwise:
                    self._spin(generation)

    def _spin(self, generation: Any) -> None:
        b = self.b
        before = b.block
        head, tired, after = (b.append_basic_block(name) for name in ("spin", "tired", "go"))
        b.branch(head)
        b.position_at_end(head)
        spins = b.phi(I64)
        now = b.load_atomic(self.generation, "acquire", 8)
        more = b.add(spins, integer(1))
        stay = b.append_basic_block("stay")
        b.cbranch(b.icmp_signed("!=", now, generation), after, stay)
        b.position_at_end(stay)
        spins.add_incoming(integer(0), before)
        spins.add_incoming(more, stay)
        b.cbranch(b.icmp_signed(">", more, integer(SPINS)), tired, head)
        b.position_at_end(tired)
        b.call(self.leave, [])
        spins.add_incoming(more, tired)
        b.branch(head)
        b.position_at_end(after)


def _entry(b: ir.IRBuilder, table: Any, i: Any, width: int) -> list[Any]:
    start = b.mul(i, integer(width))
    return [load_at(b, table, b.add(start, integer(j))) for j in range(width)]


def _is_finite(b: ir.IRBuilder, value: Any) -> Any:
    bits = b.bitcast(value, I32)
    exponent = ir.Constant(I32, 0x7F800000)
    return b.icmp_signed("!=", b.and_(bits, exponent), exponent)
