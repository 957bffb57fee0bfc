"""From a kernel to machine code, and the numbers that this kernel gives to it.

Code is keyed by its text. Widths, buffers and rates are no part of the text but numbers that the
code reads, so another width, or another trial, finds its code compiled.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from .driver_code import write_driver, write_gather
from .kernels import Kernel, Loop, Product
from .loop_code import write_loop
from .native import Code, host
from .product_code import write_product, write_turn

Number = tuple[str, Any]
"""What a number says, and of what: a length, a slot, a stride, a place in a table."""

NAME = "kernel"

_codes: dict[str, Code] = {}
_lock = threading.Lock()


def assembled(kernel: Kernel) -> tuple[int, list[Number]]:
    """The address of a kernel's machine code, and what its own numbers are."""
    module = ir.Module()
    if isinstance(kernel, Loop):
        numbers = write_loop(module, NAME, kernel, host().lanes)
        return _address(module), numbers
    if isinstance(kernel, Product):
        a, b, into = kernel.a, kernel.b, kernel.into
        k = a.space.rows if kernel.turned else a.space.columns
        lengths = [("length", n) for n in (into.space.rows, k, into.space.columns)]
        return _product(kernel.turned), [*_ends(a, b, into), *lengths]
    lengths = [("length", kernel.a.space.rows), ("length", kernel.a.space.columns)]
    return _simple(write_turn), [*_ends(kernel.a, kernel.into), *lengths]


def driver() -> int:
    """The address of the driver."""
    return _simple(write_driver)


def gather(source: str) -> int:
    """The address of the copying of rows of that type."""
    return _gather(source)


def _ends(*buffers: Any) -> list[Number]:
    return [(kind, buffer) for buffer in buffers for kind in ("slot", "stride")]


@functools.cache
def _product(turned: bool) -> int:
    module = ir.Module()
    write_product(module, NAME, turned, host())
    return _address(module)


@functools.cache
def _simple(write: Callable[[ir.Module, str], Any]) -> int:
    module = ir.Module()
    write(module, NAME)
    return _address(module)


@functools.cache
def _gather(source: str) -> int:
    return _simple(functools.partial(write_gather, source=source))


def _address(module: ir.Module) -> int:
    """Machine code for a module of one function; a text that was met before is compiled."""
    text = str(module)
    with _lock:
        if text not in _codes:
            _codes[text] = Code(text)
        return _codes[text].address(NAME)
