"""LLVM IR for a loop kernel: load, compute, sink, a vector of columns at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from ...graph import ops
from ...graph.tensor import Tensor
from .build import (
    I64,
    fold,
    integer,
    load_at,
    load_vector,
    loop,
    share,
    splat,
    store_vector,
    variable,
)
from .emit import EMITTERS, F32, I32, Emitter
from .kernels import Buffer, Loop, Sink, source_of, walked

FLOATS, INTS, LONGS = (kind.as_pointer() for kind in (F32, I32, I64))
SIGNATURE = ir.FunctionType(
    ir.VoidType(), [FLOATS.as_pointer(), LONGS, I64, FLOATS, INTS, I64, I64]
)
"""A kernel gets the buffers by slot, its own numbers, the rows of the batch, the tables of uniform
values and of random keys, and which thread of how many it is. Widths are among its numbers, so
other widths are no other code.
"""

NEUTRAL = {"sum": 0.0, "max": -math.inf, "argmax": -math.inf}


def write_loop(module: ir.Module, name: str, kernel: Loop, lanes: int) -> list[tuple[str, Any]]:
    """A function for a loop kernel; what its numbers are, as (kind, of what)."""
    return _LoopCode(module, name, kernel, lanes).numbers


class _LoopCode:
    def __init__(self, module: ir.Module, name: str, kernel: Loop, lanes: int) -> None:
        self.kernel, self.lanes = kernel, lanes
        self.function = ir.Function(module, SIGNATURE, name)
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.e = Emitter(self.b, lanes)
        self.numbers: list[tuple[str, Any]] = []
        self.values: dict[Tensor, Any] = {}
        self._write()

    def _number(self, kind: str, what: Any) -> Any:
        """The value of the next of the kernel's own numbers."""
        place = integer(len(self.numbers))
        self.numbers.append((kind, what))
        return load_at(self.b, self.function.args[1], place)

    def _dimension(self, which: str) -> Any:
        """A length; −1 stands for the rows of the batch."""
        length = self._number("length", getattr(self.kernel.space, which))
        batch = self.b.icmp_signed("<", length, integer(0))
        return self.b.select(batch, self.function.args[2], length)

    def _pointer(self, buffer: Buffer) -> Any:
        return load_at(self.b, self.function.args[0], self._number("slot", buffer))

    def _stride(self, buffer: Buffer) -> Any:
        return self._number("stride", buffer)

    def _uniform(self, node: Tensor) -> Any:
        index = self._number("uniform", node)
        value = splat(self.b, load_at(self.b, self.function.args[3], index), self.lanes)
        if node.dtype == "int":
            return self.b.fptosi(value, self.e.ints)
        if node.dtype == "bool":
            return self.b.fcmp_ordered("!=", value, self.e.number(0.0))
        return value

    def _write(self) -> None:
        b, kernel = self.b, self.kernel
        self.rows, self.columns = self._dimension("rows"), self._dimension("columns")
        self.own_rows, (self.start, self.stop) = self._shares()
        self.lane = ir.Constant(self.e.ints, list(range(self.lanes)))
        self.loads = {x: (self._pointer(y), self._stride(y), y) for x, y in kernel.loads.items()}
        self.shared: dict[Tensor, Any] = {}
        self.last_row: dict[Any, Any] = {}
        for node in kernel.body:
            if node.op is ops.uniform:
                at = self._number("key", node)
                words = (b.add(at, integer(i)) for i in (0, 1))
                keys = self.function.args[4]
                self.shared[node] = [splat(b, load_at(b, keys, i), self.lanes) for i in words]
            if node.op is ops.take:
                self.last_row[node] = self._number("last row", self.loads[_table(node)][2])
        for x in self._read():
            if x not in self.shared and x not in self.loads and x not in kernel.body:
                self.shared[x] = self._uniform(x)
        self.sinks = [(s, self._pointer(s.into), self._stride(s.into)) for s in kernel.sinks]
        self.indexes = {s: self._pointer(s.index) for s in kernel.sinks if s.index is not None}
        self.sums = {s: self._accumulators(s) for s in kernel.sinks if s.over in ("columns", "all")}
        for sink, pointer, stride in self.sinks:
            self._prepare(sink, pointer, stride)
        span = b.sub(self.stop, self.start)
        whole = b.mul(b.sdiv(span, integer(self.lanes)), integer(self.lanes))
        whole = b.add(self.start, whole)
        rest = b.icmp_signed("<", whole, self.stop)
        with loop(b, *self.own_rows) as row:
            for sink in self.sums:
                if sink.over == "columns":
                    self._reset(sink)
            with loop(b, self.start, whole, self.lanes) as column:
                self._element(row, column, None)
            with b.if_then(rest):
                left = b.trunc(b.sub(self.stop, whole), I32)
                mask = b.icmp_signed("<", self.lane, splat(b, left, self.lanes))
                self._element(row, whole, mask)
            for sink, pointer, _ in self.sinks:
                if sink.over == "columns":
                    self._finish(sink, pointer, row)
        with b.if_then(b.icmp_signed(">", self.own_rows[1], integer(0))):
            for sink, pointer, _ in self.sinks:
                if sink.over == "all":
                    self._finish(sink, pointer, integer(0))
        b.ret_void()

    def _shares(self) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """This thread's rows and columns. No sum is split, so none depends on how many there are.

        A sum over rows leaves the columns to split, a sum over columns the rows; with both, or a
        sum over all, there is work for the first thread alone.
        """
        b, (thread, threads) = self.b, self.function.args[5:]
        kinds = {sink.over for sink in self.kernel.sinks} - {"nothing"}
        scatters = any(sink.action == "scatter" for sink in self.kernel.sinks)
        rows, columns = (integer(0), self.rows), (integer(0), self.columns)
        if kinds <= {"columns"} and self.kernel.space.rows != 1 and not scatters:
            return share(b, self.rows, thread, threads), columns
        if kinds <= {"rows"} and not scatters:
            return rows, share(b, self.columns, thread, threads, self.lanes)
        mine = b.select(b.icmp_signed("==", thread, integer(0)), self.rows, integer(0))
        return (integer(0), mine), columns

    def _read(self) -> list[Tensor]:
        """What the elements are computed from, and what is sunk."""
        arithmetic = [node for node in self.kernel.body if node.op.elementwise]
        read = [source_of(x) for node in arithmetic for x in node.inputs]
        return read + [sink.value for sink in self.kernel.sinks]

    # One vector of elements ---------------------------------------------------------------------

    def _element(self, row: Any, column: Any, mask: Any) -> None:
        self.values = dict(self.shared)
        for node in self.kernel.body:
            if node.op is ops.uniform:
                self.values[node] = self._random(node, row, column)
            elif node.op is ops.take:
                self.values[node] = self._taken(node, row, column)
            else:
                operands = [self._operand(source_of(x), row, column) for x in node.inputs]
                self.values[node] = EMITTERS[node.op](self.e, *operands)
        for sink, pointer, stride in self.sinks:
            value = self._operand(sink.value, row, column)
            self._put(sink, pointer, stride, value, row, column, mask)

    def _operand(self, x: Tensor, row: Any, column: Any) -> Any:
        if x not in self.values:
            self.values[x] = self._loaded(x, row, column)
        return self.values[x]

    def _loaded(self, x: Tensor, row: Any, column: Any) -> Any:
        b = self.b
        pointer, stride, buffer = self.loads[x]
        space, own = self.kernel.space, buffer.space
        if own.columns == 1 and space.rows == 1:
            own = walked(own)
        index = b.mul(row, stride) if own.rows != 1 else integer(0)
        if own.columns == 1:
            value = splat(b, load_at(b, pointer, index), self.lanes)
        else:
            value = load_vector(b, pointer, b.add(index, column), self.e.floats)
        return self._from_memory(value, buffer)

    def _from_memory(self, value: Any, buffer: Buffer) -> Any:
        if buffer.dtype == "float":
            return value
        value = self.e.as_ints(value)
        if buffer.dtype == "int":
            return value
        return self.b.icmp_signed("!=", value, self.e.integer(0))

    def _to_memory(self, value: Any) -> Any:
        if value.type == self.e.bools:
            value = self.b.zext(value, self.e.ints)
        return self.e.as_floats(value) if value.type == self.e.ints else value

    def _taken(self, node: Tensor, row: Any, column: Any) -> Any:
        """table[index[row], column], for an index within the table."""
        b = self.b
        table, stride, _ = self.loads[_table(node)]
        index, _, _ = self.loads[source_of(node.inputs[1])]
        at = self._row_number(index, row, self.last_row[node])
        return load_vector(b, table, b.add(b.mul(at, stride), column), self.e.floats)

    def _row_number(self, pointer: Any, row: Any, last: Any) -> Any:
        b = self.b
        at = b.sext(b.load(b.bitcast(b.gep(pointer, [row]), INTS)), I64)
        at = b.select(b.icmp_signed("<", at, integer(0)), integer(0), at)
        return b.select(b.icmp_signed(">", at, last), last, at)

    def _random(self, node: Tensor, row: Any, column: Any) -> Any:
        """The same bits as `graph.random.uniform`, computed from the element's number."""
        b = self.b
        first = b.trunc(b.add(b.mul(row, self.columns), column), I32)
        x = b.add(splat(b, first, self.lanes), self.lane)
        for key in self.shared[node]:
            x = b.xor(x, key)
            for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
                x = b.xor(x, b.lshr(x, self.e.integer(shift)))
                x = b.mul(x, self.e.integer(factor))
            x = b.xor(x, b.lshr(x, self.e.integer(16)))
        bits = b.sitofp(b.lshr(x, self.e.integer(8)), self.e.floats)
        return b.fmul(bits, self.e.number(2.0**-24))

    # Sinks --------------------------------------------------------------------------------------

    def _accumulators(self, sink: Sink) -> list[Any]:
        places = [variable(self.b, self.e.number(NEUTRAL[sink.action]))]
        if sink.action == "argmax":
            places.append(variable(self.b, self.e.integer(0)))
        return places

    def _reset(self, sink: Sink) -> None:
        self.b.store(self.e.number(NEUTRAL[sink.action]), self.sums[sink][0])
        if sink.action == "argmax":
            self.b.store(self.e.integer(0), self.sums[sink][1])

    def _prepare(self, sink: Sink, pointer: Any, stride: Any) -> None:
        """Fill what a loop adds to."""
        if sink.action == "scatter":
            self.last_row[sink] = self._number("last row", sink.into)
            size = self.b.mul(self._number("length", sink.into.space.rows), stride)
            first = self.b.icmp_signed("==", self.function.args[5], integer(0))
            start, stop = integer(0), self.b.select(first, size, integer(0))
        elif sink.over == "rows":
            start, stop = self.start, self.stop
        else:
            return
        neutral = self.e.number(NEUTRAL.get(sink.action, 0.0))
        with loop(self.b, start, stop, self.lanes) as i:
            store_vector(self.b, neutral, pointer, i)

    def _combine(self, sink: Sink) -> Callable[[Any, Any], Any]:
        return self.b.fadd if sink.action in ("sum", "scatter") else self.e.maximum

    def _put(
        self, sink: Sink, pointer: Any, stride: Any, value: Any, row: Any, column: Any, mask: Any
    ) -> None:
        b = self.b
        if sink.action == "argmax" and sink.over == "nothing":
            value = self.e.integer(0)  # of a single column, the first is the largest
        if sink.action == "store" or value.type == self.e.ints:
            place = b.add(b.mul(row, stride), column)
            store_vector(b, self._to_memory(value), pointer, place)
            return
        if mask is not None:
            value = b.select(mask, value, self.e.number(NEUTRAL.get(sink.action, 0.0)))
        if sink.over == "nothing" or sink.over == "rows":
            at = column
            if sink.action == "scatter":
                number = self._row_number(self.indexes[sink], row, self.last_row[sink])
                at = b.add(b.mul(number, stride), column)
            old = load_vector(b, pointer, at, self.e.floats)
            store_vector(b, self._combine(sink)(old, value), pointer, at)
        elif sink.action == "argmax":
            best, where = self.sums[sink]
            first = splat(b, b.trunc(column, I32), self.lanes)
            better = self.e.less(b.load(best), value)
            b.store(b.select(better, b.add(first, self.lane), b.load(where)), where)
            b.store(b.select(better, value, b.load(best)), best)
        else:
            (place,) = self.sums[sink]
            b.store(self._combine(sink)(b.load(place), value), place)

    def _finish(self, sink: Sink, pointer: Any, at: Any) -> None:
        """All lanes in one, stored for the row, or for all rows."""
        b = self.b
        best = b.load(self.sums[sink][0])
        total = _folded(b, best, self.lanes, sink.action)
        if sink.action == "argmax":
            where = b.load(self.sums[sink][1])
            largest = b.fcmp_ordered("==", best, splat(b, total, self.lanes))
            where = b.select(largest, where, self.e.integer(2**31 - 1))
            number = fold(b, where, self.lanes, _smaller(b))
            total = b.bitcast(number, F32)
        b.store(total, b.gep(pointer, [at]))


def _table(node: Tensor) -> Tensor:
    return source_of(node.inputs[0])


def _folded(b: ir.IRBuilder, value: Any, lanes: int, action: str) -> Any:
    if action == "sum":
        return fold(b, value, lanes, b.fadd)

    def larger(x: Any, y: Any) -> Any:
        result = b.select(b.fcmp_unordered(">", x, y), x, y)
        return b.select(b.fcmp_unordered("uno", y, y), y, result)

    return fold(b, value, lanes, larger)


def _smaller(b: ir.IRBuilder) -> Callable[[Any, Any], Any]:
    return lambda x, y: b.select(b.icmp_signed("<", x, y), x, y)
