"""LLVM IR for a loop kernel: load, compute, sink, a vector of columns at a time."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir

from ...graph import ops
from ...graph.tensor import Tensor
from .build import (
    I64,
    fold,
    integer,
    larger,
    load_at,
    load_vector,
    loop,
    smaller,
    splat,
    store_vector,
    variable,
    vector_at,
)
from .call import FLOATS, INTS, Call, Number
from .emit import EMITTERS, F32, I32, Emitter
from .kernels import Buffer, Loop, Sink, reduces_across, source_of, walked
from .random_code import mix

NEUTRAL = {"sum": 0.0, "max": -math.inf, "argmax": -math.inf}


def write_loop(module: ir.Module, name: str, kernel: Loop, lanes: int) -> list[Number]:
    """A function for a loop kernel; its numbers, of "columns", "along", and what the loop has."""
    return _LoopCode(Call(module, name), kernel, lanes).call.numbers


class _LoopCode:
    def __init__(self, call: Call, kernel: Loop, lanes: int) -> None:
        self.call, self.kernel, self.lanes, self.b = call, kernel, lanes, call.b
        self.e = Emitter(self.b, lanes)
        self.is_line = kernel.space.rows == 1
        over = {sink.over for sink in kernel.sinks}
        self.goes_down = not self.is_line and "rows" in over and not over & {"columns", "all"}
        self.values: dict[Tensor, Any] = {}
        self.of_row: dict[Tensor, Any] = {}
        self._write()

    def _uniform(self, node: Tensor) -> Any:
        table = self.call.shared("uniforms", FLOATS)
        value = load_at(self.b, table, self.call.number("uniform", node))
        value = splat(self.b, value, self.lanes)
        if node.dtype == "int":
            return self.b.fptosi(value, self.e.ints)
        if node.dtype == "bool":
            return self.b.fcmp_ordered("!=", value, self.e.number(0.0))
        return value

    def _write(self) -> None:
        b, call = self.b, self.call
        self._prologue()
        with loop(b, call.start, call.stop, self.grain) as first:
            last = smaller(b, b.add(first, self.grain), call.stop)
            number = b.sdiv(first, self.grain)
            self.parts = {
                sink: b.gep(pointer, [b.mul(number, stride) if sink.over == "rows" else number])
                for sink, pointer, stride in self.sinks
                if reduces_across(self.kernel.space, sink)
            }
            if self.goes_down:
                self._down(first, last)
            else:
                self._across(first, last)
        b.ret_void()

    def _prologue(self) -> None:
        """What is the same for all elements: lengths, places, uniform values, random keys."""
        call, kernel = self.call, self.kernel
        self.columns = call.length("length", "columns")
        self.grain = call.length("grain", "along")
        self.lane = ir.Constant(self.e.ints, list(range(self.lanes)))
        self.loads = {x: (call.pointer(y), call.stride(y), y) for x, y in kernel.loads.items()}
        self.shared: dict[Tensor, Any] = {}
        self.last_row: dict[Any, Any] = {}
        for node in kernel.body:
            if node.op is ops.uniform:
                self.shared[node] = self._keys(node)
            if node.op is ops.take:
                self.last_row[node] = call.number("last row", self.loads[_table(node)][2])
        for x in self._read():
            if x not in self.shared and x not in self.loads and x not in kernel.body:
                self.shared[x] = self._uniform(x)
        self.sinks = [(s, call.pointer(s.into), call.stride(s.into)) for s in kernel.sinks]
        self.indexes = {s: call.pointer(s.index) for s in kernel.sinks if s.index is not None}
        held = ("rows",) if self.goes_down else ("columns", "all")
        self.sums = {s: self._accumulators(s) for s in kernel.sinks if s.over in held}
        for sink, pointer, stride in self.sinks:
            if sink.action == "scatter":
                self.last_row[sink] = call.number("last row", sink.into)
                rows = call.length("rows", sink.into)
                self._fill(sink, pointer, self.b.mul(rows, stride))

    def _keys(self, node: Tensor) -> list[Any]:
        at, keys = self.call.number("key", node), self.call.shared("keys", INTS)
        places = (self.b.add(at, integer(i)) for i in (0, 1))
        return [splat(self.b, load_at(self.b, keys, place), self.lanes) for place in places]

    def _read(self) -> list[Tensor]:
        """What the elements are computed from, and what is sunk."""
        arithmetic = [node for node in self.kernel.body if node.op.elementwise]
        read = [source_of(x) for node in arithmetic for x in node.inputs]
        return read + [sink.value for sink in self.kernel.sinks]

    # A grain, one row, and one vector of its elements ---------------------------------------------

    def _across(self, first: Any, last: Any) -> None:
        """One row after the other, or the elements of a line."""
        for sink, part in self.parts.items():
            if sink in self.sums:
                self._reset(sink)
            else:
                self._fill(sink, part, self.columns)
        if self.is_line:
            for column, mask in self._vectors(first, last):
                self._element(integer(0), column, mask)
        else:
            with loop(self.b, first, last) as row:
                self._row(row)
        for sink, part in self.parts.items():
            if sink in self.sums:
                self._finish(sink, part)

    def _down(self, first: Any, last: Any) -> None:
        """All rows for a vector of columns, then for the next: sums over rows stay in registers."""
        for column, mask in self._vectors(integer(0), self.columns):
            for sink in self.sums:
                self._reset(sink)
            with loop(self.b, first, last) as row:
                self._load_of_row(row)
                self._element(row, column, mask)
            for sink, (place,) in self.sums.items():
                store_vector(self.b, self.b.load(place), self.parts[sink], column)

    def _row(self, row: Any) -> None:
        own = [sink for sink in self.sums if sink.over == "columns"]
        for sink in own:
            self._reset(sink)
        self._load_of_row(row)
        for column, mask in self._vectors(integer(0), self.columns):
            self._element(row, column, mask)
        for sink, pointer, _ in self.sinks:
            if sink in own:
                self._finish(sink, self.b.gep(pointer, [row]))

    def _load_of_row(self, row: Any) -> None:
        self.of_row = {
            x: self._from_memory(self._splat_at(pointer, self.b.mul(row, stride)), buffer)
            for x, (pointer, stride, buffer) in self.loads.items()
            if buffer.space.columns == 1 and buffer.space.rows != 1
        }

    def _vectors(self, start: Any, stop: Any) -> Iterator[tuple[Any, Any]]:
        """Code for whole vectors, in a loop, and then for what is left, with a mask."""
        b, lanes = self.b, integer(self.lanes)
        whole = b.add(start, b.mul(b.sdiv(b.sub(stop, start), lanes), lanes))
        with loop(b, start, whole, self.lanes) as column:
            yield column, None
        with b.if_then(b.icmp_signed("<", whole, stop)):
            yield whole, self.e.first(b.sub(stop, whole))

    def _element(self, row: Any, column: Any, mask: Any) -> None:
        self.values = self.shared | self.of_row
        for node in self.kernel.body:
            if node.op is ops.uniform:
                self.values[node] = self._random(node, row, column)
            elif node.op is ops.take:
                self.values[node] = self._taken(node, row, column)
            else:
                operands = [self._operand(source_of(x), row, column) for x in node.inputs]
                self.values[node] = EMITTERS[node.op](self.e, *operands)
        # All is loaded before anything is stored: it may be in the same place.
        values = [self._operand(sink.value, row, column) for sink in self.kernel.sinks]
        for (sink, pointer, stride), value in zip(self.sinks, values, strict=True):
            self._put(sink, pointer, stride, value, row, column, mask)

    def _operand(self, x: Tensor, row: Any, column: Any) -> Any:
        if x not in self.values:
            self.values[x] = self._loaded(x, row, column)
        return self.values[x]

    def _loaded(self, x: Tensor, row: Any, column: Any) -> Any:
        b = self.b
        pointer, stride, buffer = self.loads[x]
        own = walked(buffer.space) if self.is_line else buffer.space
        index = b.mul(row, stride) if own.rows != 1 else integer(0)
        if own.columns == 1:
            value = self._splat_at(pointer, index)
        else:
            value = load_vector(b, pointer, b.add(index, column), self.e.floats)
        return self._from_memory(value, buffer)

    def _splat_at(self, pointer: Any, index: Any) -> Any:
        return splat(self.b, load_at(self.b, pointer, index), self.lanes)

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
        last = self.last_row[node]
        if self.is_line:  # of single columns: each lane has a row of its own
            values = ir.Constant(self.e.floats, ir.Undefined)
            for lane in range(self.lanes):
                at = self._row_number(index, b.add(column, integer(lane)), last)
                value = load_at(b, table, b.mul(at, stride))
                values = b.insert_element(values, value, ir.Constant(I32, lane))
            return values
        at = self._row_number(index, row, last)
        return load_vector(b, table, b.add(b.mul(at, stride), column), self.e.floats)

    def _row_number(self, pointer: Any, row: Any, last: Any) -> Any:
        b = self.b
        at = b.sext(b.load(b.bitcast(b.gep(pointer, [row]), INTS)), I64)
        return smaller(b, larger(b, at, integer(0)), last)

    def _random(self, node: Tensor, row: Any, column: Any) -> Any:
        """The same bits as `graph.random.uniform`, computed from the element's number."""
        b = self.b
        first = b.trunc(b.add(b.mul(row, self.columns), column), I32)
        x = b.add(splat(b, first, self.lanes), self.lane)
        for key in self.shared[node]:
            x = mix(b, b.xor(x, key))
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

    def _fill(self, sink: Sink, pointer: Any, length: Any) -> None:
        """Fill what a loop adds to."""
        neutral = self.e.number(NEUTRAL.get(sink.action, 0.0))
        with loop(self.b, integer(0), length, self.lanes) as i:
            store_vector(self.b, neutral, pointer, i)

    def _combine(self, sink: Sink) -> Callable[[Any, Any], Any]:
        return self.b.fadd if sink.action == "sum" else self.e.maximum

    def _put(
        self, sink: Sink, pointer: Any, stride: Any, value: Any, row: Any, column: Any, mask: Any
    ) -> None:
        b = self.b
        if sink.action == "argmax" and sink.over == "nothing":
            value = self.e.integer(0)  # of a single column, the first is the largest
        if sink.action == "store" or value.type == self.e.ints:
            place = b.add(b.mul(row, stride), column)
            value = self._to_memory(value)
            if mask is not None and self.is_line:
                self.e.store_where(mask, value, vector_at(b, pointer, place, value.type))
            else:
                store_vector(b, value, pointer, place)
            return
        if mask is not None:
            value = b.select(mask, value, self.e.number(NEUTRAL.get(sink.action, 0.0)))
        if sink.action == "scatter":
            self._scatter(sink, pointer, stride, value, row, column)
        elif sink not in self.sums:
            pointer = self.parts.get(sink, pointer)
            old = load_vector(b, pointer, column, self.e.floats)
            store_vector(b, self._combine(sink)(old, value), pointer, column)
        elif sink.action == "argmax":
            best, where = self.sums[sink]
            first = splat(b, b.trunc(column, I32), self.lanes)
            better = self.e.less(b.load(best), value)
            b.store(b.select(better, b.add(first, self.lane), b.load(where)), where)
            b.store(b.select(better, value, b.load(best)), best)
        else:
            (place,) = self.sums[sink]
            b.store(self._combine(sink)(b.load(place), value), place)

    def _scatter(
        self, sink: Sink, pointer: Any, stride: Any, value: Any, row: Any, column: Any
    ) -> None:
        """Add to the rows of a table, whose numbers may be the same."""
        b, index, last = self.b, self.indexes[sink], self.last_row[sink]
        if self.is_line:  # of single columns: one lane after the other
            for lane in range(self.lanes):
                at = b.mul(self._row_number(index, b.add(column, integer(lane)), last), stride)
                own = b.extract_element(value, ir.Constant(I32, lane))
                b.store(b.fadd(load_at(b, pointer, at), own), b.gep(pointer, [at]))
            return
        at = b.add(b.mul(self._row_number(index, row, last), stride), column)
        old = load_vector(b, pointer, at, self.e.floats)
        store_vector(b, b.fadd(old, value), pointer, at)

    def _finish(self, sink: Sink, place: Any) -> None:
        """All lanes in one."""
        b = self.b
        best = b.load(self.sums[sink][0])
        total = fold(b, best, self.lanes, self._combine(sink))
        if sink.action == "argmax":
            where = b.load(self.sums[sink][1])
            largest = b.fcmp_ordered("==", best, splat(b, total, self.lanes))
            where = b.select(largest, where, self.e.integer(2**31 - 1))
            total = b.bitcast(fold(b, where, self.lanes, functools.partial(smaller, b)), F32)
        b.store(total, place)


def _table(node: Tensor) -> Tensor:
    return source_of(node.inputs[0])
