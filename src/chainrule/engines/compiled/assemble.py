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
from .gather_code import MARKED, SOURCES, gather_numbers, write_gather
from .kernels import Gather, Kernel, Loop, Product
from .loop_code import write_loop
from .loop_form import form, numbers_of, places
from .native import Code, host
from .product_code import product_numbers, write_product
from .random_code import write_shuffle
from .skipping_code import write_skipping_product
from .turn_code import turn_numbers, write_turn

NAME = "function"

ALWAYS = ("driver", "nothing", "shuffle", *SOURCES)
"""What every program needs beside its kernels; the rest is compiled where it is asked for."""

_addresses: dict[str, int] = {}  # by text
_codes: list[Code] = []  # what the addresses point into
_loops: dict[Hashable, tuple[str, list[Number]]] = {}  # by form
_lock = threading.Lock()


def assemble(kernels: Sequence[Kernel]) -> list[tuple[int, list[Number]]]:
    """For each kernel the address of its machine code, and what its own numbers are.

    The code of a gather depends on the type of the data, which a program does not know: `address`.
    """
    written = [_written(kernel) for kernel in kernels]
    found = _compiled([*map(_support, ALWAYS), *(text for text, _ in written)])
    return [(found[text], numbers) for text, numbers in written]


def address(name: str) -> int:
    """The address of what does not depend on a program: the driver, the order of rows, …"""
    return addresses([name])[0]


def addresses(names: Sequence[str]) -> list[int]:
    """The addresses of several, of which those that are new are compiled at one go."""
    texts = [_support(name) for name in names]
    found = _compiled(texts)
    return [found[text] for text in texts]


def _written(kernel: Kernel) -> tuple[str, list[Number]]:
    if isinstance(kernel, Loop):
        return _loop(kernel)
    if isinstance(kernel, Product):
        text, numbers = _product()
        return text, product_numbers(numbers, kernel)
    if isinstance(kernel, Gather):
        return _support("float32"), gather_numbers(kernel)
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


def _writers() -> dict[str, Callable[[ir.Module, str], Any]]:
    gather = functools.partial(write_gather, lanes=host().lanes)
    return {
        "driver": write_driver,
        "nothing": write_nothing,
        "shuffle": write_shuffle,
        "skipping product": functools.partial(write_skipping_product, host=host()),
        **{x: functools.partial(gather, source=x) for x in SOURCES},
        **{f"{x}, marked": functools.partial(gather, source=x, marks=True) for x in MARKED},
        "marks alone": functools.partial(gather, source="float32", copies=False, marks=True),
    }


@functools.cache
def _support(name: str) -> str:
    return _text(_writers()[name])[0]


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
