"""The limits of every number a user can set: one row each.

A limit is a type, so a field's annotation is its documentation and its check:

>>> from typing import get_type_hints
>>> check("ratio", 0.2, Ratio)
>>> check("ratio", 1.2, Ratio)
Traceback (most recent call last):
chainrule.errors.InputError: ratio is 1.2, not in [0, 1)
"""

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from .errors import InputError
from .locks import cached_property


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; an end with a round bracket is left out."""

    text: str

    def __contains__(self, value: float) -> bool:
        low, high = self.ends
        above = value >= low if self.text[0] == "[" else value > low
        below = value <= high if self.text[-1] == "]" else value < high
        return above and below

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Both ends as numbers."""
        low, high = self.text[1:-1].split(",")
        return float(low), float(high)


Scheduled: TypeAlias = Any
"""A number, or a function (epoch, epochs in all) → number; inside a formula, a scalar Tensor."""

Positive = Annotated[float, Interval("(0, inf)")]
NotNegative = Annotated[float, Interval("[0, inf)")]
Ratio = Annotated[Scheduled, Interval("[0, 1)")]
Share = Annotated[float, Interval("[0, 1)")]
Smoothing = Annotated[float, Interval("[0, 1]")]
Rate = Annotated[Scheduled, Interval("[0, inf)")]
Strength = Annotated[Scheduled, Interval("[0, inf)")]
Finite = Annotated[float, Interval("(-inf, inf)")]
Count = Annotated[int, Interval("[1, 2147483647]")]
Seed = Annotated[int, Interval("[0, 4294967295]")]


Check = Callable[[str, Any], None]


def check(name: str, value: Any, limit: Any) -> None:
    """Raise `InputError` unless `value` is of the type and in the interval of `limit`."""
    for found in checks(limit):
        found(name, value)


def checks(limit: Any) -> list[Check]:
    """What there is to check of a limit, made once for what is checked often.

    Types that are neither a limit, nor a choice of words, nor bool, are left to the type checker.
    """
    form = get_origin(limit)
    if form in (Union, UnionType):
        return _one_of(get_args(limit))
    if form is Literal:
        words = get_args(limit)
        expected = " or ".join(map(repr, words))
        return [lambda name, value: _expect(value in words, name, value, expected)]
    if limit is bool:
        return [lambda name, value: _expect(isinstance(value, bool), name, value, "True or False")]
    return [_within(*get_args(limit))] if form is Annotated else []


def _one_of(options: tuple[Any, ...]) -> list[Check]:
    types = tuple(x for x in options if isinstance(x, type))
    limited = [found for option in options for found in checks(option)]

    def one_of(name: str, value: Any) -> None:
        if not isinstance(value, types):
            for found in limited:
                found(name, value)

    return [one_of]


def _within(kind: Any, interval: Interval) -> Check:
    wanted, word = (numbers.Integral, "whole ") if kind is int else (numbers.Real, "")
    usual = (int,) if kind is int else (int, float)

    def within(name: str, value: Any) -> None:
        if type(value) in usual and value in interval:
            return
        if kind is Scheduled and callable(value):
            return
        number = isinstance(value, wanted) and not isinstance(value, bool)
        _expect(number, name, value, f"a {word}number in {interval.text}")
        if value not in interval:
            raise InputError(f"{name} is {value!r}, not in {interval.text}")

    return within


def _expect(fits: bool, name: str, value: Any, expected: str) -> None:
    if not fits:
        raise InputError(f"{name} is {value!r}, expected {expected}")
