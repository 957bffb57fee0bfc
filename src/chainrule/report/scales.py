"""Scales: where a value lies on an axis that runs from 0 to 1, and the axis's ticks."""

from __future__ import annotations

import itertools
import math
from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard
from unicodedata import east_asian_width

from ..search.space import Value
from .findings import Findings

MOST_OPTIONS = 12
"""Options that are named on an axis."""

LARGEST = 1e100
"""What is no smaller is drawn nowhere."""

LETTERS = 46
"""How many fit below an axis, side by side."""


@dataclass(frozen=True)
class Scale:
    """Numbers, on a logarithmic scale or not, or options side by side."""

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    options: tuple[Value, ...] = ()

    def place(self, value: Value) -> float:
        """Between 0 and 1; NaN for what has no place here."""
        if self.options:
            found = self.options.index(value) if value in self.options else math.nan
            return (found + 0.5) / len(self.options)
        if not _is_number(value) or (self.log and value <= 0):
            return math.nan
        low, high = self._at(self.low), self._at(self.high)
        return (self._at(value) - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """A few places and what to write there."""
        if self.options:
            shown = self.options[:: math.ceil(len(self.options) / MOST_OPTIONS)]
            if max(len(plain(x)) for x in shown) <= LETTERS // len(shown):
                return [(self.place(x), plain(x)) for x in shown]
            # Every other one a line lower; those at the ends must stay within the picture.
            letters = min(LETTERS // math.ceil(len(shown) / 2), LETTERS // len(shown) + 6)
            return [
                (self.place(x), "\n" * (i % 2) + plain(x, letters)) for i, x in enumerate(shown)
            ]
        found = self._decades() if self.log else _round_numbers(self.low, self.high)
        if len(found) < 2:
            found = [self.low, self.high]
        if self.whole:
            found = [value for value in found if value == round(value)]
        return [(self.place(value), f"{value:.5g}") for value in found]

    @property
    def whole(self) -> bool:
        """Whether only whole numbers make sense."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def room(self) -> float:
        """What a value has beside its neighbours, where there are few values."""
        return 1 / len(self.options) if self.options else 0.0

    def _decades(self) -> list[float]:
        low, high = math.log10(self.low), math.log10(self.high)
        if high - low < 2.5:
            powers = range(math.floor(low), math.ceil(high) + 1)
            steps = (1, 2, 5) if high - low < 1.6 else (1, 3)
            found = [m * 10.0**k for k in powers for m in steps]
        else:
            step = math.ceil((high - low) / 5)
            found = [10.0**k for k in range(math.ceil(low), math.floor(high) + 1, step)]
        return [x for x in found if self.low * 0.999 <= x <= self.high * 1.001]

    def _at(self, value: float) -> float:
        return math.log10(value) if self.log else value


def scale_of(name: str, findings: Findings) -> Scale:
    """For all that a setting could be in any round, and was."""
    ranges = [r.ranges[name] for r in findings.rounds if name in r.ranges]
    values = [trial.settings[name] for trial in findings.trials if name in trial.settings]
    numbers = [value for value in values if _is_number(value)]
    options = [option for found in ranges for option in found.options]
    if options or len(numbers) < len(values):
        return Scale(options=tuple(dict.fromkeys([*options, *values])))
    ends = [x for found in ranges for x in (found.low, found.high) if x is not None]
    found = scale_for([*numbers, *ends], log=any(found.log for found in ranges))
    if found.whole and not found.log and found.high - found.low < MOST_OPTIONS:
        return Scale(options=tuple(range(int(found.low), int(found.high) + 1)))
    return found


def scale_for(values: Iterable[float | None], log: bool = False) -> Scale:
    """From the least to the largest of these numbers, with some room."""
    found = [value for value in values if _is_number(value)] or [0.0, 1.0]
    low, high = min(found), max(found)
    log = log and low > 1 / LARGEST
    size = max(abs(low), abs(high), 1 / LARGEST)
    if high - low > 1e-9 * size:
        return Scale(low, high, log)
    room = 0.1 * size if low else 0.5
    return Scale(low / 2, high * 2, True) if log else Scale(low - room, high + room)


def score_scale(scores: Iterable[float | None]) -> Scale:
    """Losses may lie far apart: then by their logarithm."""
    found = [score for score in scores if _is_number(score)]
    wide = bool(found) and min(found) > 0 and max(found) / min(found) > 30 and max(found) > 1
    return scale_for(found, log=wide)


def plain(value: Value, letters: int = 200) -> str:
    """A value as text for the eye: short, and without what cannot be printed."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    ends = list(itertools.accumulate(1 + (east_asian_width(x) in "WF") for x in text))
    return text if not ends or ends[-1] <= letters else text[: bisect(ends, letters - 1)] + "…"


def _is_number(value: Value) -> TypeGuard[float]:
    return type(value) in (int, float) and abs(value) < LARGEST  # type: ignore[arg-type]


def _round_numbers(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, seven of them or fewer."""
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(m * power for m in (1, 2, 5, 10, 20) if (high - low) / (m * power) <= 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]
