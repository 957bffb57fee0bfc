"""LLVM IR for a product of matrices: tiles of the result are held in registers.

A tile has some rows of some vectors. For each k it takes the vectors of b and, for each row, one
number of a in every lane. Few rows and many vectors is best: each row needs an address of its own
in one of 15 registers, while vectors lie side by side. On Zen 4 at 256 × 256 × 256, of a peak of
118 GFLOP/s: 12 × 2 gives 56, 8 × 3 gives 90, 6 × 4 gives 116, with neither matrix packed.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .build import integer, load_at, load_vector, loop, share, splat, store_vector, variable
from .emit import Emitter
from .loop_code import SIGNATURE
from .native import Host


def write_product(module: ir.Module, name: str, turned: bool, host: Host) -> None:
    """A function that multiplies matrices; its numbers say where they lie, and their lengths."""
    _ProductCode(module, name, turned, host)


class _ProductCode:
    NUMBERS = ("a", "a stride", "b", "b stride", "into", "into stride", "m", "k", "n")

    def __init__(self, module: ir.Module, name: str, turned: bool, host: Host) -> None:
        self.turned, self.lanes = turned, host.lanes
        self.tile_rows, self.wide = host.tile
        self.function = ir.Function(module, SIGNATURE, name)
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.e = Emitter(self.b, host.lanes)
        self._write()

    def _write(self) -> None:
        b = self.b
        slots, numbers, batch, _, _, thread, threads = self.function.args
        n = {name: load_at(b, numbers, integer(i)) for i, name in enumerate(self.NUMBERS)}
        for name in ("a", "b", "into"):
            n[name] = load_at(b, slots, n[name])
        for name in ("m", "k", "n"):
            n[name] = b.select(b.icmp_signed("<", n[name], integer(0)), batch, n[name])
        self.n = n
        # Each thread has whole tiles of rows; the last tile of all overlaps the one before it, and
        # what two threads compute there is the same.
        self.first, self.last = share(b, n["m"], thread, threads, self.tile_rows)
        vectors = b.sdiv(b.add(n["n"], integer(self.lanes - 1)), integer(self.lanes))
        whole = b.mul(b.sdiv(vectors, integer(self.wide)), integer(self.wide))
        with loop(b, integer(0), whole, self.wide) as vector:
            self._panel(b.mul(vector, integer(self.lanes)), self.wide)
        for rest in range(1, self.wide):
            with b.if_then(b.icmp_signed("==", b.sub(vectors, whole), integer(rest))):
                self._panel(b.mul(whole, integer(self.lanes)), rest)
        b.ret_void()

    def _panel(self, column: Any, vectors: int) -> None:
        """All rows of the result for some columns. The last tile overlaps the one before it."""
        b, m, height = self.b, self.n["m"], integer(self.tile_rows)
        with b.if_else(b.icmp_signed("<", m, height)) as (few, many):
            with few, loop(b, self.first, self.last) as row:
                self._tile(row, column, 1, vectors)
            with many, loop(b, self.first, self.last, self.tile_rows) as row:
                last = b.sub(m, height)
                start = b.select(b.icmp_signed(">", row, last), last, row)
                self._tile(start, column, self.tile_rows, vectors)

    def _tile(self, row: Any, column: Any, height: int, vectors: int) -> None:
        b, n = self.b, self.n
        tall, step = (integer(1), n["a stride"]) if self.turned else (n["a stride"], integer(1))
        bases = [b.gep(n["a"], [b.mul(b.add(row, integer(i)), tall)]) for i in range(height)]
        sums = [variable(b, self.e.number(0.0)) for _ in range(height * vectors)]
        with loop(b, integer(0), n["k"]) as k:
            self._add_products(k, column, bases, step, sums, vectors)
        for i in range(height):
            start = b.add(b.mul(b.add(row, integer(i)), n["into stride"]), column)
            for j in range(vectors):
                at = b.add(start, integer(j * self.lanes))
                store_vector(b, b.load(sums[i * vectors + j]), n["into"], at)

    def _add_products(
        self, k: Any, column: Any, bases: list[Any], step: Any, sums: list[Any], vectors: int
    ) -> None:
        b, n = self.b, self.n
        start = b.add(b.mul(k, n["b stride"]), column)
        right = [
            load_vector(b, n["b"], b.add(start, integer(j * self.lanes)), self.e.floats)
            for j in range(vectors)
        ]
        offset = b.mul(k, step)
        for i, base in enumerate(bases):
            left = splat(b, load_at(b, base, offset), self.lanes)
            for j in range(vectors):
                place = sums[i * vectors + j]
                b.store(self.e.fma(left, right[j], b.load(place)), place)


def write_turn(module: ir.Module, name: str) -> None:
    """into = aᵀ, element by element."""
    function = ir.Function(module, SIGNATURE, name)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    slots, numbers, batch, _, _, thread, threads = function.args
    a, a_stride, into, into_stride, rows, columns = (
        load_at(b, numbers, integer(i)) for i in range(6)
    )
    a, into = load_at(b, slots, a), load_at(b, slots, into)
    rows, columns = (b.select(b.icmp_signed("<", n, integer(0)), batch, n) for n in (rows, columns))
    with loop(b, *share(b, columns, thread, threads)) as j, loop(b, integer(0), rows) as i:
        value = load_at(b, a, b.add(b.mul(i, a_stride), j))
        b.store(value, b.gep(into, [b.add(b.mul(j, into_stride), i)]))
    b.ret_void()
