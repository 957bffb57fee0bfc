"""From kernels to machine code, and the numbers that each kernel gives to it.

Code depends on the form of a kernel. Widths, buffers and rates are no part of it but numbers that
the code reads, so another width, or another trial, finds its code compiled.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...locks import fork_safe_lock
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

MOST_LOOPS = 256
"""Loops whose code stays in memory without a program: some 0.05 MB each. Nets of 7 activations,
with and without dropout and batch norm, have 99."""


@dataclass(frozen=True, eq=False)
class Function:
    """Machine code, in memory as long as this object, and the numbers that it reads."""

    code: Code
    address: int
    numbers: list[Number]


Write = Callable[[ir.Module, str], Any]
"""Writes a function of that name; returns the numbers that it reads."""

Wanted = tuple[Hashable, Write, Callable[[list[Number]], list[Number]]]
"""A key, its writer, and from numbers of the code to numbers of a certain kernel."""

_support: dict[Hashable, Function] = {}
"""By name: all code but that of loops. Some twenty functions, which stay."""
_loops: weakref.WeakValueDictionary[Hashable, Function] = weakref.WeakValueDictionary()
"""By form: loops of all programs that are alive, and of `_recent`."""
_recent: collections.OrderedDict[Hashable, Function] = collections.OrderedDict()
"""By form, the least recently used loop first."""
_lock = fork_safe_lock()


def assemble(kernels: Sequence[Kernel]) -> list[tuple[Function, list[Number]]]:
    """For each kernel its machine code and its own numbers.

    The code of a gather depends on the type of the data, which a program does not know: `address`.
    """
    wanted = [_wanted(kernel) for kernel in kernels]
    writers = {name: _writers()[name] for name in ALWAYS}
    found = _functions(writers | {key: write for key, write, _ in wanted})
    functions = [found[key] for key, _, _ in wanted]
    return [(f, own(f.numbers)) for f, (_, _, own) in zip(functions, wanted, strict=True)]


def address(name: str) -> int:
    """The address of what does not depend on a program: the driver, the order of rows, …"""
    return addresses([name])[0]


def addresses(names: Sequence[str]) -> list[int]:
    """The addresses of several, of which those that are new are compiled at one go."""
    if not all(name in _support for name in names):
        _functions({name: _writers()[name] for name in names})
    return [_support[name].address for name in names]


def _wanted(kernel: Kernel) -> Wanted:
    if isinstance(kernel, Loop):
        return _loop(kernel)
    if isinstance(kernel, Product):
        return _named("product", functools.partial(product_numbers, product=kernel))
    if isinstance(kernel, Gather):
        return _named("float32", lambda _: gather_numbers(kernel))
    return _named("turn", functools.partial(turn_numbers, turn=kernel))


def _named(name: str, own: Callable[[list[Number]], list[Number]]) -> Wanted:
    return name, _writers()[name], own


def _loop(loop: Loop) -> Wanted:
    """To write a loop takes 2 ms, to find one of its form 0.1 ms."""
    found = form(loop)

    def write(module: ir.Module, name: str) -> list[Number]:
        return places(write_loop(module, name, loop, host().lanes), found)

    return found.key, write, functools.partial(numbers_of, found=found)


@functools.cache
def _writers() -> dict[Hashable, Write]:
    gather = functools.partial(write_gather, lanes=host().lanes)
    return {
        "driver": write_driver,
        "nothing": write_nothing,
        "shuffle": write_shuffle,
        "product": functools.partial(write_product, host=host()),
        "skipping product": functools.partial(write_skipping_product, host=host()),
        "turn": functools.partial(write_turn, lanes=host().lanes),
        **{x: functools.partial(gather, source=x) for x in SOURCES},
        **{f"{x}, marked": functools.partial(gather, source=x, marks=True) for x in MARKED},
        "marks alone": functools.partial(gather, source="float32", copies=False, marks=True),
    }


def _functions(writers: Mapping[Hashable, Write]) -> dict[Hashable, Function]:
    """The functions by key; all new ones are compiled at one go."""
    with _lock:
        known = {key: _support.get(key) or _loops.get(key) for key in writers}
        found = {key: function for key, function in known.items() if function is not None}
        found |= _compiled({key: writers[key] for key in writers if key not in found})
        for key, function in found.items():
            _keep(key, function)
    return found


def _keep(key: Hashable, function: Function) -> None:
    if isinstance(key, str):
        _support[key] = function
        return
    _loops[key] = _recent[key] = function
    _recent.move_to_end(key)
    while len(_recent) > MOST_LOOPS:
        _recent.popitem(last=False)


def _compiled(writers: Mapping[Hashable, Write]) -> dict[Hashable, Function]:
    """Each is written as a module of its own. Its name is that of its text, since a file of the
    cache is found by all texts that are compiled together."""
    if not writers:
        return {}
    numbers, texts = {}, {}
    for key, write in writers.items():
        module = ir.Module()
        numbers[key] = write(module, NAME)
        texts[key] = str(module)
    names = {t: f"f{hashlib.sha256(t.encode()).hexdigest()[:24]}" for t in texts.values()}
    code = Code([text.replace(f'"{NAME}"', f'"{name}"') for text, name in names.items()])
    return {key: Function(code, code.address(names[texts[key]]), numbers[key]) for key in writers}
