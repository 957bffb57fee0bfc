"""From kernels to machine code, and the numbers that each kernel gives to it.

Code is keyed by its text. Widths, buffers and rates are no part of the text but numbers that the
code reads, so another width, or another trial, finds its code compiled.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from llvmlite import ir

from .call import Number
from .driver_code import write_driver, write_nothing
from .gather_code import SOURCES, gather_numbers, write_gather
from .kernels import Gather, Kernel, Loop, Product
from .loop_code import write_loop
from .loop_form import form, numbers_of, places
from .native import Code, host
from .product_code import product_numbers, write_product
from .random_code import write_shuffle
from .turn_code import turn_numbers, write_turn

NAME = "function"

_addresses: dict[str, int] = {}  # by text
_codes: list[Code] = []  # what the addresses point into
_loops: dict[Hashable, tuple[str, list[Number]]] = {}  # by form
_lock = threading.Lock()


def assemble(kernels: Sequence[Kernel]) -> list[tuple[int, list[Number]]]:
    """For each kernel the address of its machine code, and what its own numbers are.

    The code of a gather depends on the type of the data, which a program does not know: `address`.
    """
    written = [_written(kernel) for kernel in kernels]
    addresses = _compiled([*_support().values(), *(text for text, _ in written)])
    return [(addresses[text], numbers) for text, numbers in written]


def address(name: str) -> int:
    """The address of what every program needs: the driver, the gathering of a type of data, …"""
    text = _support()[name]
    return _compiled([text])[text]


def _written(kernel: Kernel) -> tuple[str, list[Number]]:
    if isinstance(kernel, Loop):
        return _loop(kernel)
    if isinstance(kernel, Product):
        text, numbers = _product()
        return text, product_numbers(numbers, kernel)
    if isinstance(kernel, Gather):
        return _support()["float32"], gather_numbers(kernel)
    text, numbers = _turn()
    return text, turn_numbers(numbers, kernel)


def _loop(loop: Loop) -> tuple[str, list[Number]]:
    """To write a loop takes 2 ms, to find one of its form 0.1 ms."""
    found = form(loop)
    if found.key not in _loops:
        text, numbers = _text(functools.partial(write_loop, kernel=loop, lanes=host().lanes))
        _loops[found.key] = text, places(numbers, found)
    text, numbers = _loops[found.key]
    return text, numbers_of(numbers, found)


@functools.cache
def _product() -> tuple[str, list[Number]]:
    return _text(functools.partial(write_product, host=host()))


@functools.cache
def _turn() -> tuple[str, list[Number]]:
    return _text(functools.partial(write_turn, lanes=host().lanes))


@functools.cache
def _support() -> dict[str, str]:
    """What every program needs beside its kernels."""
    gathers = {
        source: functools.partial(write_gather, source=source, lanes=host().lanes)
        for source in SOURCES
    }
    writers: dict[str, Callable[[ir.Module, str], Any]] = {
        "driver": write_driver,
        "nothing": write_nothing,
        "shuffle": write_shuffle,
        **gathers,
    }
    return {name: _text(write)[0] for name, write in writers.items()}


Numbers = TypeVar("Numbers")


def _text(write: Callable[[ir.Module, str], Numbers]) -> tuple[str, Numbers]:
    module = ir.Module()
    numbers = write(module, NAME)
    return str(module), numbers


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
