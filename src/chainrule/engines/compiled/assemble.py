"""From kernels to machine code, and the numbers that each kernel gives to it.

Code is keyed by its text. Widths, buffers and rates are no part of the text but numbers that the
code reads, so another width, or another trial, finds its code compiled.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .driver_code import SOURCES, write_driver, write_gather
from .kernels import Buffer, Kernel, Loop, Product
from .loop_code import write_loop
from .native import Code, host
from .product_code import write_product, write_turn

Number = tuple[str, Any]
"""What a number says, and of what: a length, a slot, a stride, a place in a table."""

NAME = "function"

_addresses: dict[str, int] = {}  # by text
_codes: list[Code] = []  # what the addresses point into
_lock = threading.Lock()


def assemble(kernels: Sequence[Kernel]) -> list[tuple[int, list[Number]]]:
    """For each kernel the address of its machine code, and what its own numbers are."""
    written = [_written(kernel) for kernel in kernels]
    addresses = _compiled([*_support().values(), *(text for text, _ in written)])
    return [(addresses[text], numbers) for text, numbers in written]


def address(name: str) -> int:
    """The address of the driver, or of the gathering of a type of data."""
    text = _support()[name]
    return _compiled([text])[text]


def _written(kernel: Kernel) -> tuple[str, list[Number]]:
    if isinstance(kernel, Loop):
        module = ir.Module()
        numbers = write_loop(module, NAME, kernel, host().lanes)
        return str(module), numbers
    if isinstance(kernel, Product):
        a, b, into = kernel.a, kernel.b, kernel.into
        k = a.space.rows if kernel.turned else a.space.columns
        lengths = [("length", n) for n in (into.space.rows, k, into.space.columns)]
        return _product(kernel.turned), [*_ends(a, b, into), *lengths]
    lengths = [("length", kernel.a.space.rows), ("length", kernel.a.space.columns)]
    return _text(write_turn), [*_ends(kernel.a, kernel.into), *lengths]


def _ends(*buffers: Buffer) -> list[Number]:
    return [(kind, buffer) for buffer in buffers for kind in ("slot", "stride")]


@functools.cache
def _product(turned: bool) -> str:
    return _text(functools.partial(write_product, turned=turned, host=host()))


@functools.cache
def _support() -> dict[str, str]:
    """What every program needs beside its kernels."""
    gathers = {
        source: _text(functools.partial(write_gather, source=source, lanes=host().lanes))
        for source in SOURCES
    }
    return {"driver": _text(write_driver), **gathers}


def _text(write: Callable[[ir.Module, str], None]) -> str:
    module = ir.Module()
    write(module, NAME)
    return str(module)


def _compiled(texts: Sequence[str]) -> dict[str, int]:
    """The addresses of functions, each a module of its own; what is new is compiled at one go."""
    with _lock:
        new = [text for text in dict.fromkeys(texts) if text not in _addresses]
        if new:
            names = {text: f"f{hashlib.sha256(text.encode()).hexdigest()[:24]}" for text in new}
            code = Code([text.replace(f'"{NAME}"', f'"{names[text]}"') for text in new])
            _codes.append(code)
            _addresses.update((text, code.address(names[text])) for text in new)
        return {text: _addresses[text] for text in texts}
