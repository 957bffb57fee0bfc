"""The space of settings: what each one may be, and how a number between 0 and 1 becomes a value."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import InputError
from ..limits import Finite, Positive
from ..spec import Spec
from ..words import near

Value = float | int | str | bool | None


class WrongSearch(InputError):
    """The search as a whole is wrong, and not the settings of one trial: it ends."""


class UnknownSetting(WrongSearch):
    """`build` asked for a setting that the space does not have."""


class Settings(dict[str, Any]):
    """The settings of one trial, by name; asking for another name is an error that helps."""

    lacking: Mapping[str, When] = MappingProxyType({})
    """Those of the space that this trial has not."""

    def __missing__(self, name: str) -> Any:
        if name in self.lacking:
            when = self.lacking[name]
            raise UnknownSetting(
                f"no setting {name!r} in this trial: there is one only where {when.name!r} is "
                f"{' or '.join(map(repr, when.values))}; ask for it by settings.get({name!r})"
            )
        known = f": there is {', '.join(map(repr, self))}"
        raise UnknownSetting(f"no setting {name!r}{near(str(name), self) or known}")

    def copy(self) -> Settings:
        """A copy, which may be changed."""
        found = Settings(self)
        found.lacking = self.lacking
        return found


MOST_DECADES = 300
"""float64 ends a little later, on either side of 1, and the width of a range must be one too."""

MOST = 10.0**MOST_DECADES


class Parameter(Spec):
    """What a setting may be. A subclass says what a number 0 ≤ u < 1 stands for."""

    is_base = True

    def value(self, u: float) -> Value:
        """The value at a place in the range."""
        raise NotImplementedError

    def may_be(self, value: Value) -> bool:
        """Whether it is that very value now and then: a number among infinitely many never is."""
        return False


class Numeric(Parameter):
    """A number from `low` to `high`, on a scale that the subclass chooses.

    Narrowing may go beyond both ends where the best lie there, unless it is `fixed`.
    """

    is_base = True

    low: Finite
    high: Finite
    fixed: bool = False

    def setup(self) -> None:
        self.low, self.high = _plain(self.low), _plain(self.high)
        for name, value in (("low", self.low), ("high", self.high)):
            if abs(value) > MOST:
                raise InputError(f"{type(self).__name__}: {name} is a number beyond ±{MOST:g}")
        if not self.low < self.high:
            raise InputError(
                f"{type(self).__name__}: low is {self.low!r}, expected less than high, "
                f"which is {self.high!r}"
            )

    def value(self, u: float) -> Value:
        low, high = self.place(self.low), self.place(self.high)
        return self.at(low + u * (high - low))

    def place(self, value: float) -> float:
        """Where a value lies on the scale."""
        return value

    def at(self, place: float) -> Value:
        """The value at a place of the scale."""
        return min(max(place, -MOST), MOST)

    def between(self, low: float, high: float) -> Numeric:
        """The same kind of range between two places of the scale."""
        fields = self.fields() | {"low": self.at(low), "high": self.at(high)}
        return type(self)(**fields)


class Uniform(Numeric):
    """Any number between `low` and `high`, all as likely.

    >>> Uniform(0.0, 0.5).value(0.25)
    0.125
    """

    fixed: bool = True


class LogUniform(Numeric):
    """10^u, with u uniform between log₁₀ low and log₁₀ high: rates, and strengths of decay.

    >>> LogUniform(1e-6, 1e-2).value(0.5)
    0.0001

    Source: "Deep Learning from Scratch", section 6.5.
    """

    low: Positive
    high: Positive

    def place(self, value: float) -> float:
        """Its logarithm to base 10."""
        return math.log10(value)

    def at(self, place: float) -> Value:
        """Ten to the power of the place, to 12 digits."""
        return float(f"{10.0 ** min(max(place, -MOST_DECADES), MOST_DECADES):.12g}")


class Integer(Numeric):
    """A whole number from `low` to `high`, both included; with `log`, as likely per factor.

    >>> Integer(1, 6).value(0.5)
    4
    """

    low: int
    high: int
    fixed: bool = True
    log: bool = False

    def setup(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                raise InputError(f"Integer: {name} is {value!r}, expected a whole number")
        if self.log and self.low < 1:
            raise InputError(f"Integer: low is {self.low!r}, expected 1 or more with log=True")
        super().setup()

    def place(self, value: float) -> float:
        """The number, or its logarithm to base 2."""
        return math.log2(value) if self.log else value

    def value(self, u: float) -> Value:
        """Each whole number has as much room as the others, at the ends too."""
        if self.log:
            low, high = math.log2(self.low - 0.5), math.log2(self.high + 0.5)
            return self._inside(2.0 ** (low + u * (high - low)))
        return self._inside(self.low - 0.5 + u * (self.high - self.low + 1))

    def may_be(self, value: Value) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool) or value % 1:
            return False
        return not self.fixed or self.low <= value <= self.high

    def _inside(self, x: float) -> int:
        return min(max(math.floor(x + 0.5), self.low), self.high)

    def at(self, place: float) -> Value:
        """The nearest whole number; not below 1, where a width or a count would make no sense."""
        nearest = math.floor((2.0**place if self.log else place) + 0.5)
        return max(nearest, min(self.low, 1))

    def between(self, low: float, high: float) -> Numeric:
        """At least two numbers, so that there is a choice; the second one is within this range."""
        first, last = int(self.at(low)), int(self.at(high))  # type: ignore[arg-type]
        if first >= last:
            first, last = (first, first + 1) if first < self.high else (first - 1, first)
        return Integer(first, last, fixed=self.fixed, log=self.log)


class Choice(Parameter):
    """One of some values.

    >>> Choice(["sgd", "adam"]).value(0.7)
    'adam'
    """

    options: Sequence[Value]

    def setup(self) -> None:
        given = self.options if isinstance(self.options, list | tuple) else ()
        options = tuple(_plain(option) for option in given)
        plain = all(isinstance(x, Value) for x in options)
        if not options or not plain or len(set(options)) < len(options):
            raise InputError(
                f"Choice: options is {self.options!r}, expected a list of different words or "
                "numbers; build can turn a word into anything"
            )
        self.options = options

    def value(self, u: float) -> Value:
        return self.options[int(u * len(self.options))]

    def may_be(self, value: Value) -> bool:
        return value in self.options


class When(Parameter):
    """A setting that there is only where another one has one of some values.

    >>> space = {"layers": Integer(1, 2), "second": When("layers", [2], Integer(16, 64))}
    >>> draw(space, [0.0, 0.9])
    {'layers': 1}
    """

    name: str
    values: Sequence[Value]
    parameter: Parameter

    def setup(self) -> None:
        if not isinstance(self.parameter, Parameter) or isinstance(self.parameter, When):
            raise InputError(f"When: parameter is {self.parameter!r}, expected a range or a Choice")
        if not isinstance(self.name, str):
            raise InputError(f"When: name is {self.name!r}, expected that of a setting")
        given = self.values if isinstance(self.values, list | tuple) else ()
        values = tuple(_plain(value) for value in given)
        if not values or not all(isinstance(x, Value) for x in values):
            raise InputError(f"When: values is {self.values!r}, expected a list of values")
        self.values = values

    def value(self, u: float) -> Value:
        return self.parameter.value(u)

    def holds(self, settings: Mapping[str, Value]) -> bool:
        """Whether there is this setting beside the others."""
        return self.name in settings and settings[self.name] in self.values


Space = Mapping[str, Parameter]


COLUMNS = ("number", "round", "status", "reason", "epochs", "score", "loss")
"""What the table of trials tells beside the settings."""


def checked(space: Any) -> dict[str, Parameter]:
    """A space that makes sense; an `InputError` otherwise."""
    if not isinstance(space, Mapping) or not space:
        raise InputError(f"Search: space is {space!r}, expected settings by name")
    space = {
        name: Choice([x]) if isinstance(x, Value) else x  # the same for all trials
        for name, x in space.items()
    }
    for i, (name, parameter) in enumerate(space.items()):
        if name in COLUMNS:
            raise InputError(
                f"Search: a setting is named {name!r}, as a column of the table of trials is"
            )
        if not isinstance(name, str) or not isinstance(parameter, Parameter):
            raise InputError(
                f"Search: setting {name!r} is {parameter!r}, expected LogUniform, Uniform, "
                "Integer, Choice or When"
            )
        if isinstance(parameter, When):
            _check_condition(name, parameter, space, list(space)[:i])
    return dict(space)


def _check_condition(
    name: str, when: When, space: Mapping[str, Any], before: Sequence[str]
) -> None:
    if when.name not in before:
        hint = near(when.name, before)
        if when.name in space:
            hint = ": a setting must stand before those that depend on it"
        what = "itself" if when.name == name else f"{when.name!r}"
        raise InputError(f"Search: {name!r} depends on {what}, which is no setting before it{hint}")
    other = inner(space[when.name])
    for value in when.values:
        if not other.may_be(value):
            raise InputError(
                f"Search: {name!r} depends on {when.name!r} being {value!r}, which it cannot be "
                f"({type(other).__name__}: {described(other)})"
                + near(str(value), described(other).split(", "))
            )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def inner(parameter: Parameter) -> Parameter:
    """What is drawn, whatever the condition."""
    return parameter.parameter if isinstance(parameter, When) else parameter


def draw(space: Space, places: Sequence[float]) -> Settings:
    """Settings from a number 0 ≤ u < 1 for each of them."""
    place = dict(zip(space, places, strict=True))
    return settle(space, lambda name, parameter: parameter.value(float(place[name])))


def settle(space: Space, value: Callable[[str, Parameter], Value]) -> Settings:
    """Settings of which each is asked for, in order, if there is one beside those before it."""
    settings, lacking = Settings(), {}
    for name, parameter in space.items():
        if not isinstance(parameter, When):
            settings[name] = value(name, parameter)
        elif parameter.holds(settings):
            settings[name] = value(name, parameter.parameter)
        else:
            lacking[name] = parameter
    settings.lacking = lacking
    return settings


def number_of_settings(space: Space, settings: Mapping[str, Value] | None = None) -> float:
    """How many different settings a space has; infinite where a number may be any of a range.

    >>> number_of_settings({"layers": Integer(1, 2), "second": When("layers", [2], Integer(4, 6))})
    4
    """
    given = dict(settings or {})
    left = {name: parameter for name, parameter in space.items() if name not in given}
    if not left:
        return 1
    name, parameter = next(iter(left.items()))
    rest = {key: x for key, x in left.items() if key != name}
    values = _values(inner(parameter))
    if isinstance(parameter, When) and not parameter.holds(given):
        return number_of_settings(rest, given)
    if values is None:
        return math.inf
    if any(isinstance(x, When) and x.name == name for x in rest.values()):
        return sum(number_of_settings(rest, given | {name: value}) for value in values)
    return len(values) * number_of_settings(rest, given)


def _values(parameter: Parameter) -> Sequence[Value] | None:
    """All values of a parameter; None where they cannot be counted."""
    match parameter:
        case Choice(options=options):
            return options
        case Integer(low=low, high=high, fixed=True):
            return range(low, high + 1)
    return None


def described(parameter: Parameter) -> str:
    """A range or a choice in a few words.

    >>> described(LogUniform(1e-6, 0.01))
    '1e-06 to 0.01'
    """
    bare = inner(parameter)
    if isinstance(bare, Numeric):
        return f"{bare.low:.3g} to {bare.high:.3g}"
    assert isinstance(bare, Choice)
    return ", ".join(map(str, bare.options))
