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

from .build import integer, load_at, load_vector, loop, smaller, splat, store_vector, variable
from .call import Call, Number
from .emit import Emitter
from .kernels import Product, shared_along
from .native import Host

HEIGHTS = 3, 1
"""Of tiles for what has fewer rows than a tile: each a few instructions more to compile."""


def write_product(
    module: ir.Module, name: str, turned: bool, in_grains: bool, host: Host
) -> list[Number]:
    """A function that multiplies matrices; its numbers, of "a", "b", "into" and the product."""
    return _ProductCode(Call(module, name), turned, in_grains, host).call.numbers


def product_numbers(numbers: Sequence[Number], product: Product) -> list[Number]:
    """The numbers of a certain product."""
    a, b, into = product.a, product.b, product.into
    buffers = {"a": a, "b": b, "into": into}
    lengths = {
        "m": a.space.columns if product.turned else a.space.rows,
        "k": a.space.rows if product.turned else a.space.columns,
        "n": b.space.columns,
        "along": shared_along(product),
    }
    return [(kind, (buffers | lengths)[what]) for kind, what in numbers]


class _ProductCode:
    def __init__(self, call: Call, turned: bool, in_grains: bool, host: Host) -> None:
        self.call, self.b, self.turned, self.lanes = call, call.b, turned, host.lanes
        self.tile_rows, self.wide = host.tile
        self.e = Emitter(self.b, host.lanes)
        self.a, self.right = call.pointer("a"), call.pointer("b")
        self.a_stride, self.b_stride = call.stride("a"), call.stride("b")
        self.into, self.into_stride = call.pointer("into"), call.stride("into")
        self.columns = call.length("length", "n")
        if in_grains:
            self._grains()
        else:
            depth = call.length("length", "k")
            self._rows(self.into, call.start, call.stop, integer(0), depth)
        self.b.ret_void()

    def _grains(self) -> None:
        """The rows that are shared are those that are summed: a part of the result for each grain.

        A part lies in memory as the result does, and the rows of b are as long as its rows.
        """
        b, call = self.b, self.call
        height, grain = call.length("length", "m"), call.length("grain", "along")
        part_stride, self.into_stride = self.into_stride, self.b_stride
        with loop(b, call.start, call.stop, grain) as first:
            last = smaller(b, b.add(first, grain), call.stop)
            part = b.gep(self.into, [b.mul(b.sdiv(first, grain), part_stride)])
            self._rows(part, integer(0), height, first, last)

    def _rows(self, into: Any, start: Any, stop: Any, first: Any, last: Any) -> None:
        """Some rows of the result, summed over first ≤ k < last, a panel of columns at a time."""
        b, self.target = self.b, into
        self.first, self.last = first, last
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
        tall, step = (integer(1), self.a_stride) if self.turned else (self.a_stride, integer(1))
        bases = [b.gep(self.a, [b.mul(b.add(row, integer(i)), tall)]) for i in range(height)]
        sums = [variable(b, self.e.number(0.0)) for _ in range(height * vectors)]
        with loop(b, self.first, self.last) as k:
            self._add_products(k, column, bases, step, sums, vectors)
        for i in range(height):
            start = b.add(b.mul(b.add(row, integer(i)), self.into_stride), column)
            for j in range(vectors):
                at = b.add(start, integer(j * self.lanes))
                store_vector(b, b.load(sums[i * vectors + j]), self.target, at)

    def _add_products(
        self, k: Any, column: Any, bases: list[Any], step: Any, sums: list[Any], vectors: int
    ) -> None:
        b = self.b
        start = b.add(b.mul(k, self.b_stride), column)
        right = [
            load_vector(b, self.right, b.add(start, integer(j * self.lanes)), self.e.floats)
            for j in range(vectors)
        ]
        offset = b.mul(k, step)
        for i, base in enumerate(bases):
            left = splat(b, load_at(b, base, offset), self.lanes)
            for j in range(vectors):
                place = sums[i * vectors + j]
                b.store(self.e.fma(left, right[j], b.load(place)), place)
