"""LLVM IR for random numbers: the same bits as in `graph.random`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir

from ...graph import random
from ...graph.tensor import Array
from .build import I64, integer, load_at, loop
from .call import INTS, LONGS
from .emit import I32

POINTERS, NUMBERS = [ctypes.c_void_p] * 2, [ctypes.c_int64] * 2
SHUFFLE = ctypes.CFUNCTYPE(None, *POINTERS, *NUMBERS)
BRIEF_SHUFFLE = ctypes.PYFUNCTYPE(None, *POINTERS, *NUMBERS)
"""The same with Python's lock held: to give it away and wait for it costs more than a few rows."""

BRIEF_ROWS = 50_000
"""Rows that are shuffled in about 0.2 ms."""


def write_shuffle(module: ir.Module, name: str) -> None:
    """Fill the orders of some epochs, given two keys for each."""
    kind = ir.FunctionType(ir.VoidType(), [LONGS, INTS, I64, I64])
    function = ir.Function(module, kind, name)
    orders, keys, epochs, rows = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    with loop(b, integer(0), epochs) as epoch:
        order = b.gep(orders, [b.mul(epoch, rows)])
        own = [load_at(b, keys, b.add(b.mul(epoch, integer(2)), integer(i))) for i in (0, 1)]
        with loop(b, integer(0), rows) as i:
            word = b.trunc(i, I32)
            for key in own:
                word = mix(b, b.xor(word, key))
            count = b.add(i, integer(1))
            place = b.gep(order, [b.lshr(b.mul(b.zext(word, I64), count), integer(32))])
            b.store(b.load(place), b.gep(order, [i]))
            b.store(i, place)
    b.ret_void()


def mix(b: ir.IRBuilder, x: Any) -> Any:
    """`graph.random.mix` of 32 bits, or of such in every lane."""

    def word(value: int) -> ir.Constant:
        lanes = [value] * x.type.count if isinstance(x.type, ir.VectorType) else value
        return ir.Constant(x.type, lanes)

    for shift, factor in random.ROUNDS:
        x = b.mul(b.xor(x, b.lshr(x, word(shift))), word(factor))
    return b.xor(x, b.lshr(x, word(random.LAST_SHIFT)))


def shuffled(code: int, rows: int, seed: int, epochs: range) -> Array:
    """The orders of those epochs, by the code at that address."""
    found = np.empty((len(epochs), rows), np.int64)
    keys = random.order_keys(seed, epochs)
    shuffle = BRIEF_SHUFFLE if found.size < BRIEF_ROWS else SHUFFLE
    shuffle(code)(found.ctypes.data, keys.ctypes.data, *found.shape)
    return found
