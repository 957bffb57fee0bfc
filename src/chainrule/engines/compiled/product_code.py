"""LLVM IR for a product of matrices: tiles of the result are held in registers.

A tile has some rows of some vectors. For each k it takes the vectors of b and, for each row, one
number of a in every lane. Few rows and many vectors is best: each row needs an address of its own
in one of 15 registers, while vectors lie side by side. On Zen 4 at 256 × 256 × 256, of a peak of
118 GFLOP/s: 12 × 2 gives 56, 8 × 3 gives 90, 6 × 4 gives 116, with neither matrix packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from ...graph.shape import N
from .build import (
    Carried,
    integer,
    load_at,
    load_vector,
    loop,
    prefetch,
    smaller,
    splat,
    store_vector,
)
from .call import LONGS, Call, Number
from .emit import Emitter
from .kernels import Product
from .memory import CACHE_LINE
from .native import Host

PAIR = 2
"""Rows at a time where they are too few for a tile."""

DEPTH = 1024
"""How many k at one go: then 128 rows of a and a panel of b stay in a core's cache of a megabyte.
All at one go, 128 × 4,096 × 4,096 takes 5 % longer."""

ROWS_AHEAD = 12
"""How many rows of b before they are read their lines are asked for. Rows of wide matrices lie on
pages of their own, which no processor goes to by itself: 784-1024-1024-10 takes 3 % less time.

Of a, each time the line after the one that is read is asked for: down columns of rows in the order
of a batch, 784 × 100 × 100 goes from 81 to 101 GFLOP/s."""


def write_product(module: ir.Module, name: str, host: Host) -> list[Number]:
    """A function that multiplies matrices; `product_numbers` says of which product.

    One function does for all: whether a is read along its rows or down its columns is a distance,
    and where a's rows lie among others, the order of the batch says which are meant.
    """
    return ProductCode(Call(module, name), host).call.numbers


def product_numbers(numbers: Sequence[Number], product: Product) -> list[Number]:
    """The numbers of a certain product."""
    a, b, into = product.a, product.b, product.into
    turned, in_grains = product.turned, product.in_grains
    meant: dict[str, Number] = {
        "a": ("slot", a),
        "b": ("slot", b),
        "into": ("slot", into),
        "row length": ("row length", a),
        "turned": ("number", int(turned)),
        "ordered": ("ordered", a),
        "marks": ("marks", a),
        "marks stride": ("marks stride", a),
        "b stride": ("stride", b),
        # A part for a grain lies in memory as the whole does, whose rows are as long as those of b.
        "into stride": ("stride", b if in_grains else into),
        "part stride": ("stride", into) if in_grains else ("number", 0),
        "grain": ("grain", N if in_grains else None),
        "m": ("length", a.space.columns if turned else a.space.rows),
        "k": ("length", a.space.rows if turned else a.space.columns),
        "n": ("length", b.space.columns),
        "in grains": ("number", int(in_grains)),
    }
    return [meant[name] for _, name in numbers]


class ProductCode:
    """A product's function while it is written."""

    parts = 2
    """Those of a vector, one of which may be the last: with halves 100 × 784 × 53 takes 83 µs, and
    else 104."""

    def __init__(self, call: Call, host: Host) -> None:
        self.call, self.b, self.lanes = call, call.b, host.lanes
        self.tile_rows, self.wide = host.tile
        self.e, self.half = (Emitter(self.b, lanes) for lanes in (host.lanes, host.lanes // 2))
        self.a, self.right, into = (call.pointer(name) for name in ("a", "b", "into"))
        self._find_a()
        self.marks, self.marks_stride = (call.number("", f"marks{x}") for x in ("", " stride"))
        self.b_stride, self.into_stride = (call.number("", f"{x} stride") for x in ("b", "into"))
        self.columns = call.length("", "n")
        b, height, depth = self.b, call.length("", "m"), call.length("", "k")
        part_stride, grain = call.number("", "part stride"), call.length("", "grain")
        in_grains = b.icmp_signed("!=", call.number("", "in grains"), integer(0))
        # What is shared is rows of the result, or else of those that are summed: then there is a
        # part of the result for each grain.
        with loop(b, call.start, call.stop, grain) as first:
            last = smaller(b, b.add(first, grain), call.stop)
            part = b.gep(into, [b.mul(b.sdiv(first, grain), part_stride)])
            start, stop = b.select(in_grains, integer(0), first), b.select(in_grains, height, last)
            self.begin = b.select(in_grains, first, integer(0))
            end = b.select(in_grains, last, depth)
            with loop(b, self.begin, end, DEPTH) as self.first:
                self.last = smaller(b, b.add(self.first, integer(DEPTH)), end)
                self._rows(part, start, stop)
        b.ret_void()

    def _find_a(self) -> None:
        """How a's rows and columns are found: by their numbers, times a distance.

        The numbers are 0, 1, 2, …; of rows that lie among others they are those of the batch.
        """
        call, b = self.call, self.b
        length, turned, ordered = (call.number("", x) for x in ("row length", "turned", "ordered"))
        count, order = (call.shared(name, LONGS) for name in ("counting", "order"))
        self.turned, ordered = (b.icmp_signed("!=", x, integer(0)) for x in (turned, ordered))
        by_row, by_column = (b.select(ordered, order, count), length), (count, integer(1))
        self.down, self.along = (
            [b.select(self.turned, x, y) for x, y in zip(*pair, strict=True)]
            for pair in ((by_column, by_row), (by_row, by_column))
        )

    def _place(self, i: Any, way: Sequence[Any]) -> Any:
        """Where the i-th row or column of a is."""
        numbers, distance = way
        return self.b.mul(load_at(self.b, numbers, i), distance)

    def _rows(self, into: Any, start: Any, stop: Any) -> None:
        """Some rows of the result, a panel of columns at a time; the last may end with a part of a
        vector."""
        b, self.target, part = self.b, into, self.lanes // self.parts
        panel, in_panel = self.wide * self.lanes, self.wide * self.parts
        parts = b.sdiv(b.add(self.columns, integer(part - 1)), integer(part))
        whole = b.mul(b.sdiv(parts, integer(in_panel)), integer(panel))
        with loop(b, integer(0), whole, panel) as column:
            self._panel(start, stop, column, [self.lanes] * self.wide)
        rest = b.srem(parts, integer(in_panel))
        for count in range(1, in_panel):
            with b.if_then(b.icmp_signed("==", rest, integer(count))):
                widths = [self.lanes] * (count // self.parts) + [part] * (count % self.parts)
                self._panel(start, stop, whole, widths)

    def _panel(self, start: Any, stop: Any, column: Any, widths: Sequence[int]) -> None:
        """Rows for some columns, a tile at a time, and those that are left by two: of tiles of 6,
        50 rows take 8 and a third. Where a row is missing the last one is computed again: in a
        pair, and in a tile that is one short."""
        b, tile, whole = self.b, self.tile_rows, self._whole_tiles(start, stop)
        for first, end, height in (start, whole, tile), (whole, stop, PAIR):
            with loop(b, first, end, height) as row:
                last = b.sub(end, integer(1))
                rows = [smaller(b, b.add(row, integer(i)), last) for i in range(height)]
                self._tile(rows, column, widths)

    def _whole_tiles(self, start: Any, stop: Any) -> Any:
        """Up to where rows are taken in tiles."""
        b, tile = self.b, self.tile_rows
        left = b.srem(b.sub(stop, start), integer(tile))
        one_short = b.icmp_signed("==", left, integer(tile - 1))
        return b.select(one_short, stop, b.sub(stop, left))

    def _tile(self, rows: Sequence[Any], column: Any, widths: Sequence[int]) -> None:
        b = self.b
        emitters = [self.e if lanes == self.lanes else self.half for lanes in widths]
        starts = [b.add(b.mul(row, self.into_stride), column) for row in rows]
        places = [
            (e, b.add(start, integer(j * self.lanes)))
            for start in starts
            for j, e in enumerate(emitters)
        ]
        sums = self._sums_so_far(places)
        self._sum_up(sums, rows, column, emitters)
        for (_, at), total in zip(places, sums, strict=True):
            store_vector(b, total.value, self.target, at)

    def _sums_so_far(self, places: Sequence[tuple[Emitter, Any]]) -> list[Carried]:
        """Zeros, or after the first block of k what the blocks before have stored."""
        b, start = self.b, self.b.block
        with b.if_then(b.icmp_signed(">", self.first, self.begin)):
            stored = [load_vector(b, self.target, at, e.floats) for e, at in places]
            loaded = b.block
        sums = [Carried(b.phi(e.floats)) for e, _ in places]
        for total, (e, _), vector in zip(sums, places, stored, strict=True):
            total.value.add_incoming(e.number(0.0), start)
            total.value.add_incoming(vector, loaded)
        return sums

    def _sum_up(
        self, sums: list[Carried], rows: Sequence[Any], column: Any, emitters: Sequence[Emitter]
    ) -> None:
        """Over all k, asking for the numbers that come later."""
        b, bases = self.b, self._bases(rows)
        with loop(b, self.first, self.last, carried=sums) as k:
            start = b.add(b.mul(k, self.b_stride), column)
            ahead = b.add(start, b.mul(self.b_stride, integer(ROWS_AHEAD)))
            for j in range(len(emitters)):
                prefetch(b, self.right, b.add(ahead, integer(j * self.lanes)))
            offset = self._place(k, self.along)
            self._add_products(start, offset, bases, sums, emitters)
            prefetch(b, bases[0], b.add(offset, integer(CACHE_LINE // 4)))

    def _bases(self, rows: Sequence[Any]) -> list[Any]:
        """Where rows of a begin, or columns where it is turned."""
        return [self.b.gep(self.a, [self._place(row, self.down)]) for row in rows]

    def _add_products(
        self,
        start: Any,
        offset: Any,
        bases: Sequence[Any],
        sums: Sequence[Carried],
        emitters: Sequence[Emitter],
    ) -> None:
        """Those of one k: of vectors of b from `start` on, and the rows' numbers at `offset`."""
        b, width = self.b, len(emitters)
        right = [
            load_vector(b, self.right, b.add(start, integer(j * self.lanes)), e.floats)
            for j, e in enumerate(emitters)
        ]
        for i, base in enumerate(bases):
            number = load_at(b, base, offset)
            left = {e.lanes: splat(b, number, e.lanes) for e in emitters}
            totals = sums[i * width : (i + 1) * width]
            for e, vector, total in zip(emitters, right, totals, strict=True):
                total.value = e.fma(left[e.lanes], vector, total.value)
