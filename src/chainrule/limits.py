"""The limits of every number a user can set: one row each.

A limit is a type, so a field's annotation is its documentation and its check:

>>> from typing import get_type_hints
>>> check("ratio", 0.2, Ratio)
>>> check("ratio", 1.2, Ratio)
Traceback (most recent call last):
chainrule.errors.InputError: ratio is 1.2, not in [0, 1)
"""

import functools
import numbers
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from .errors import InputError


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; an end with a round bracket is left out."""

    text: str

    def __contains__(self, value: float) -> bool:
        low, high = self.ends
        above = value >= low if self.text[0] == "[" else value > low
        below = value <= high if self.text[-1] == "]" else value < high
        return above and below

    @functools.cached_property
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


def check(name: str, value: Any, limit: Any) -> None:
    """Raise `InputError` unless `value` is of the type and in the interval of `limit`.

    Types that are neither a limit, nor a choice of words, nor bool, are left to the type checker.
    """
    form = get_origin(limit)
    if form in (Union, UnionType):
        options = get_args(limit)
        if not isinstance(value, tuple(x for x in options if isinstance(x, type))):
            for option in options:
                check(name, value, option)
    elif form is Literal:
        _expect(value in get_args(limit), name, value, " or ".join(map(repr, get_args(limit))))
    elif limit is bool:
        _expect(isinstance(value, bool), name, value, "True or False")
    elif form is Annotated:
        kind, interval = get_args(limit)
        if kind is Scheduled and callable(value):
            return
        wanted, word = (numbers.Integral, "whole ") if kind is int else (numbers.Real, "")
        number = isinstance(value, wanted) and not isinstance(value, bool)
        _expect(number, name, value, f"a {word}number in {interval.text}")
        if value not in interval:
            raise InputError(f"{name} is {value!r}, not in {interval.text}")


def _expect(fits: bool, name: str, value: Any, expected: str) -> None:
    if not fits:
        raise InputError(f"{name} is {value!r}, expected {expected}")
