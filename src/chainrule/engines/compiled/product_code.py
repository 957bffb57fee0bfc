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
from .build import integer, load_at, load_vector, loop, smaller, splat, store_vector, variable
from .call import Call, Number
from .emit import Emitter
from .kernels import Product
from .native import Host

HEIGHTS = 3, 1
"""Of tiles for what has fewer rows than a tile: each a few instructions more to compile."""


def write_product(module: ir.Module, name: str, host: Host) -> list[Number]:
    """A function that multiplies matrices; `product_numbers` says of which product.

    One function does for all: whether a is read along its rows or down its columns is a distance.
    """
    return _ProductCode(Call(module, name), host).call.numbers


def product_numbers(numbers: Sequence[Number], product: Product) -> list[Number]:
    """The numbers of a certain product."""
    a, b, into = product.a, product.b, product.into
    stride, one = ("stride", a), ("number", 1)
    turned, in_grains = product.turned, product.in_grains
    meant: dict[str, Number] = {
        "a": ("slot", a),
        "b": ("slot", b),
        "into": ("slot", into),
        "down": one if turned else stride,
        "along": stride if turned else one,
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


class _ProductCode:
    def __init__(self, call: Call, host: Host) -> None:
        self.call, self.b, self.lanes = call, call.b, host.lanes
        self.tile_rows, self.wide = host.tile
        self.e = Emitter(self.b, host.lanes)
        self.a, self.right, into = (call.pointer(name) for name in ("a", "b", "into"))
        self.down, self.along = call.number("", "down"), call.number("", "along")
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
            self.first = b.select(in_grains, first, integer(0))
            self.last = b.select(in_grains, last, depth)
            self._rows(part, start, stop)
        b.ret_void()

    def _rows(self, into: Any, start: Any, stop: Any) -> None:
        """Some rows of the result, a panel of columns at a time."""
        b, self.target = self.b, into
        vectors = b.sdiv(b.add(self.columns, integer(self.lanes - 1)), integer(self.lanes))
        whole = b.mul(b.sdiv(vectors, integer(self.wide)), integer(self.wide))
        with loop(b, integer(0), whole, self.wide) as vector:
            self._panel(start, stop, b.mul(vector, integer(self.lanes)), self.wide)
        for rest in range(1, self.wide):
            with b.if_then(b.icmp_signed("==", b.sub(vectors, whole), integer(rest))):
                self._panel(start, stop, b.mul(whole, integer(self.lanes)), rest)

    def _panel(self, start: Any, stop: Any, column: Any, vectors: int) -> None:
        """Rows for some columns, in the tallest tiles that fit; the last one overlaps the one
        before it, and computes the same there."""
        b = self.b
        count = b.sub(stop, start)
        done = b.append_basic_block("done")
        for height in (self.tile_rows, *HEIGHTS):
            with b.if_then(b.icmp_signed(">=", count, integer(height))):
                last = b.sub(stop, integer(height))
                with loop(b, start, stop, height) as row:
                    self._tile(smaller(b, row, last), column, height, vectors)
                b.branch(done)
        b.branch(done)
        b.position_at_end(done)

    def _tile(self, row: Any, column: Any, height: int, vectors: int) -> None:
        b = self.b
        bases = [b.gep(self.a, [b.mul(b.add(row, integer(i)), self.down)]) for i in range(height)]
        sums = [variable(b, self.e.number(0.0)) for _ in range(height * vectors)]
        with loop(b, self.first, self.last) as k:
            self._add_products(k, column, bases, sums, vectors)
        for i in range(height):
            start = b.add(b.mul(b.add(row, integer(i)), self.into_stride), column)
            for j in range(vectors):
                at = b.add(start, integer(j * self.lanes))
                store_vector(b, b.load(sums[i * vectors + j]), self.target, at)

    def _add_products(
        self, k: Any, column: Any, bases: list[Any], sums: list[Any], vectors: int
    ) -> None:
        b = self.b
        start = b.add(b.mul(k, self.b_stride), column)
        right = [
            load_vector(b, self.right, b.add(start, integer(j * self.lanes)), self.e.floats)
            for j in range(vectors)
        ]
        offset = b.mul(k, self.along)
        for i, base in enumerate(bases):
            left = splat(b, load_at(b, base, offset), self.lanes)
            for j in range(vectors):
                place = sums[i * vectors + j]
                b.store(self.e.fma(left, right[j], b.load(place)), place)
