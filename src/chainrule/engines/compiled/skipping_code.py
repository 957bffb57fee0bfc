"""LLVM IR for a product of data that are mostly zeros, with what is zero left out.

Of the pixels of a digit four in five are 0, and of the columns that stand for a category all but
one. In a batch a bit a number tells which are other than 0 (gather_code.py). Before a tile is
computed, the k are listed at which not all of its numbers of a are 0: for rows of a batch, two at a
time, 29 % of MNIST's, and for six columns side by side 34 %. What is left out would have added 0,
so sums are the same, bit for bit; of a sum that is 0 the sign may be another. Products of 0 with
weights that are not finite, which would be NaN, are left out too, or not, as the other row has it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from .build import I64, Carried, integer, load_at, load_vector, loop, smaller, splat, store_vector
from .call import INTS, Call, Number
from .emit import I32, Emitter
from .gather_code import BYTES, I8, marks_of_row
from .native import Host
from .product_code import DEPTH, PAIR, ProductCode

AT_ONCE = 8
"""How many k are looked at together: as many as a byte has marks for."""


def write_skipping_product(module: ir.Module, name: str, host: Host) -> list[Number]:
    """A function that multiplies matrices, of which the first has marks for its zeros.

    Its numbers are those of a product that leaves out nothing, so that one may stand for the other.
    """
    return _SkippingCode(Call(module, name), host).call.numbers


class _SkippingCode(ProductCode):
    parts = 1
    """Whole vectors: here rows of b are waited for, and halves would be as much code again."""

    def __init__(self, call: Call, host: Host) -> None:
        b, module = call.b, call.function.module
        self.list = b.alloca(I32, DEPTH + AT_ONCE)
        self.for_rows = _list_for_rows(module, PAIR)
        self.for_columns = {h: _list_for_columns(module, h) for h in (host.tile[0], PAIR)}
        super().__init__(call, host)

    def _whole_tiles(self, start: Any, stop: Any) -> Any:
        """Of rows of a batch none: the fewer at a time, the more is left out."""
        return self.b.select(self.turned, super()._whole_tiles(start, stop), start)

    def _sum_up(
        self, sums: list[Carried], rows: Sequence[Any], column: Any, emitters: Sequence[Emitter]
    ) -> None:
        b, bases = self.b, self._bases(rows)
        count = self._list(rows)
        with loop(b, integer(0), count, carried=sums) as i:
            k = b.sext(load_at(b, self.list, i), I64)
            start = b.add(b.mul(k, self.b_stride), column)
            self._add_products(start, self._place(k, self.along), bases, sums, emitters)

    def _list(self, rows: Sequence[Any]) -> Any:
        """List the k that are not left out of a tile; how many they are."""
        b = self.b
        marks = b.inttoptr(self.marks, BYTES)
        what = [self.list, marks, self.marks_stride, self.first, self.last]
        of_columns = self.for_columns[len(rows)], [*what, rows[0]]
        if len(rows) > PAIR:
            return b.call(*of_columns)
        with b.if_else(self.turned) as (turned, straight):
            with turned:
                in_columns, after_columns = b.call(*of_columns), b.block
            with straight:
                in_rows, after_rows = b.call(self.for_rows, [*what, *rows]), b.block
        count = b.phi(I64)
        count.add_incoming(in_columns, after_columns)
        count.add_incoming(in_rows, after_rows)
        return count


def _function(module: ir.Module, name: str, which: int) -> tuple[ir.IRBuilder, Sequence[Any]]:
    """A function of the list, the marks, how far apart they are, the first k and the end of them,
    and of so many rows or columns: it is called for tiles of any width."""
    kind = ir.FunctionType(I64, [INTS, BYTES, *[I64] * (3 + which)])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return ir.IRBuilder(function.append_basic_block("entry")), function.args


def _list_for_rows(module: ir.Module, height: int) -> ir.Function:
    """For rows of a: each k is a column, and a row has a byte of marks for eight of them.

    The first k is a multiple of eight, as DEPTH is.
    """
    b, (into, marks, stride, first, last, *rows) = _function(module, f"for_{height}_rows", height)
    starts = [b.gep(marks, [marks_of_row(b, row, stride)]) for row in rows]
    count = Carried(integer(0))
    with loop(b, first, last, AT_ONCE, [count]) as k:
        some = functools.reduce(b.or_, [load_at(b, start, k) for start in starts])
        _append(b, some, k, into, count)
    b.ret(count.value)
    return b.function


def _list_for_columns(module: ir.Module, height: int) -> ir.Function:
    """For columns of a side by side: each k is a row, and bits of two of its bytes tell of them.

    Where the last column of a tile stands for one that is missing, a bit too many is looked at: at
    worst it is a k too many, which adds zeros.
    """
    b, (into, marks, stride, first, last, column) = _function(module, f"for_{height}_columns", 1)
    start = b.gep(marks, [b.and_(column, integer(-AT_ONCE))])
    seen = b.shl(integer(2**height - 1), b.and_(column, integer(7)))
    in_low = splat(b, b.trunc(seen, I8), AT_ONCE)
    in_high = splat(b, b.trunc(b.lshr(seen, integer(8)), I8), AT_ONCE)
    rows = in_low.type
    count = Carried(integer(0))
    with loop(b, first, last, AT_ONCE, [count]) as k:
        place = marks_of_row(b, k, stride)
        low = load_vector(b, start, place, rows, align=1)
        high = load_vector(b, start, b.add(place, integer(AT_ONCE)), rows, align=1)
        found = b.or_(b.and_(low, in_low), b.and_(high, in_high))
        some = b.bitcast(b.icmp_signed("!=", found, ir.Constant(rows, None)), I8)
        left = smaller(b, b.sub(last, k), integer(AT_ONCE))
        ours = b.trunc(b.sub(b.shl(integer(1), left), integer(1)), I8)
        _append(b, b.and_(some, ours), k, into, count)
    b.ret(count.value)
    return b.function


def _append(b: ir.IRBuilder, some: Any, k: Any, into: Any, count: Carried) -> None:
    """Those of eight k that have a one in a byte."""
    table, eight = _ones_of_bytes(b.module), ir.VectorType(I32, AT_ONCE)
    ones = b.load(b.gep(table, [integer(0), b.zext(some, I64)]), align=AT_ONCE)
    found = b.add(b.zext(ones, eight), splat(b, b.trunc(k, I32), AT_ONCE))
    store_vector(b, found, into, count.value)
    count.value = b.add(count.value, b.zext(b.ctpop(some), I64))


def _ones_of_bytes(module: ir.Module) -> ir.GlobalVariable:
    """For each byte the places of its ones, in order."""
    if "ones" in module.globals:
        return module.globals["ones"]
    eight = ir.VectorType(I8, AT_ONCE)
    table = ir.GlobalVariable(module, ir.ArrayType(eight, 256), "ones")
    table.linkage, table.global_constant = "internal", True
    ones = [[i for i in range(AT_ONCE) if byte >> i & 1] for byte in range(256)]
    rows = [ir.Constant(eight, x + [0] * (AT_ONCE - len(x))) for x in ones]
    table.initializer = ir.Constant(table.value_type, rows)
    return table
