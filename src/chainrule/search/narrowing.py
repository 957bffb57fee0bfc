"""Narrowing: each range moves to where the good trials lie, round after round.

Source: "Deep Learning from Scratch", section 6.5: narrow the range, again and again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from .space import Choice, Numeric, Parameter, Settings, Space, Value, When, inner

GOOD = 0.15
"""The share of all trials that counts as good."""

FEWEST = 6
"""Good trials at least, and values of a setting that narrowing is based on."""

MOST = 20
"""Good trials at most: more would span a wide range for ever, however much is known."""

MARGIN = 0.1
"""Room that is left on either side, of the range that the good trials span."""

EDGE = 0.15
"""The part of a range that counts as its edge."""

SMALLEST = 1 / 4
"""The narrowest that a range becomes, of what it was at first: a few lucky trials prove little."""

REACH = 3.0
"""How far a range may go beyond its first ends, in widths of what it was at first: where a setting
has no effect, the best lie at an edge by chance, again and again."""

HALVINGS = 6
"""Steps of the search for the last value that `build` accepts: to 1/64 of the way beyond an end."""

OPTION_TRIALS = 6
"""How often an option has its chance before it may be left out."""

Trials = Sequence[Mapping[str, Value]]


def narrowed(
    space: Space, first: Space, good: Trials, tried: Trials
) -> tuple[dict[str, Parameter], dict[str, str]]:
    """The space for the next round, and the reason of what changed in it.

    `first` is the space as it was given, `good` the settings of good trials, the best one first,
    and `tried` those of all trials.
    """
    result, reasons = dict(space), {}
    for name, parameter in space.items():
        values = [settings[name] for settings in good if name in settings]
        bare = inner(parameter)
        found: Parameter | None = None
        if isinstance(bare, Numeric) and len(values) >= FEWEST:
            found, reason = _range(bare, inner(first[name]), values)
        elif isinstance(bare, Choice) and len(values) >= FEWEST:
            tries = [settings[name] for settings in tried if name in settings]
            found, reason = _options(bare, inner(first[name]), values, tries)
        if found is not None:
            result[name] = found
            if isinstance(parameter, When):
                result[name] = When(parameter.name, parameter.values, found)
            reasons[name] = reason
    return result, reasons


def _range(now: Numeric, first: Parameter, values: Sequence[Value]) -> tuple[Parameter | None, str]:
    assert isinstance(first, Numeric)
    places = [now.place(float(value)) for value in values]  # type: ignore[arg-type]
    low, high = now.place(now.low), now.place(now.high)
    start, stop = first.place(first.low), first.place(first.high)
    width = high - low
    best = _median(places[:3])
    span = f"{len(places)} good trials lie between {_text(now, min(places))} and "
    span += _text(now, max(places))
    reach = 0.0 if now.fixed else REACH * (stop - start)
    lowest, highest = start - reach, stop + reach
    if best >= high - EDGE * width and high < highest:
        bottom, top, where = min(places), high + width / 2, "the best lie at the upper end; "
    elif best <= low + EDGE * width and low > lowest:
        bottom, top, where = low - width / 2, max(places), "the best lie at the lower end; "
    else:
        room = MARGIN * (max(places) - min(places))
        bottom, top, where = min(places) - room, max(places) + room, ""
    missing = max(0.0, SMALLEST * (stop - start) - (top - bottom))
    bottom = min(max(bottom - missing / 2, lowest), highest - SMALLEST * (stop - start))
    top = max(min(top + missing / 2, highest), lowest + SMALLEST * (stop - start))
    found = now.between(bottom, top)
    if (found.low, found.high) == (now.low, now.high):
        return None, ""
    return found, where + span


def _options(
    now: Choice, first: Parameter, values: Sequence[Value], tried: Sequence[Value]
) -> tuple[Parameter | None, str]:
    assert isinstance(first, Choice)
    kept = [x for x in first.options if x in values or tried.count(x) < OPTION_TRIALS]
    if kept == list(now.options):
        return None, ""
    changes = []
    if left_out := [str(x) for x in now.options if x not in kept]:
        changes.append(f"none of {len(values)} good trials has {', '.join(left_out)}")
    if again := [str(x) for x in kept if x not in now.options]:
        changes.append(f"good trials from the first ranges have {', '.join(again)}")
    return Choice(kept), "; ".join(changes)


def within_reach(
    name: str,
    moved: Parameter,
    first: Parameter,
    good: Settings,
    accepts: Callable[[Settings], bool],
) -> Parameter:
    """A range that moved beyond its first ends, as far as `build` accepts good settings there: a
    ratio of 1.08 makes no dropout."""
    bare, start = inner(moved), inner(first)
    if not isinstance(bare, Numeric) or not isinstance(start, Numeric):
        return moved

    def accepted(inside: float, beyond: float) -> float:
        if _accepts(bare.at(beyond)):
            return beyond
        for _ in range(HALVINGS):
            middle = (inside + beyond) / 2
            inside, beyond = (middle, beyond) if _accepts(bare.at(middle)) else (inside, middle)
        return inside

    def _accepts(value: Value) -> bool:
        tried = good.copy()
        tried[name] = value
        return accepts(tried)

    low, high = bare.place(bare.low), bare.place(bare.high)
    bottom, top = start.place(start.low), start.place(start.high)
    low = accepted(bottom, low) if low < bottom else low
    high = accepted(top, high) if high > top else high
    if (bare.at(low), bare.at(high)) == (bare.low, bare.high) or low >= high:
        return moved
    found = bare.between(low, high)
    return When(moved.name, moved.values, found) if isinstance(moved, When) else found


def how_many_are_good(trials: int) -> int:
    """The number of trials that count as good, of that many."""
    return min(max(FEWEST, math.ceil(GOOD * trials)), MOST)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _text(parameter: Numeric, place: float) -> str:
    value = parameter.at(place)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
