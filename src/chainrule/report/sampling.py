"""What is drawn of thousands: so many that a page stays small, spread over the search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .findings import Findings, Trial

T = TypeVar("T")


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, two or more, evenly from the first one to the last one.

    >>> spread(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    return [items[i * (len(items) - 1) // (most - 1)] for i in range(most)]


def some_trials(findings: Findings, most: int, best: int = 20) -> list[Trial]:
    """Trials with a score: the best ones, and others spread over the search; the best last."""
    first, others = findings.ranking[:best], findings.ranking[best:]
    rest = sorted(others, key=lambda trial: trial.number)
    return [*spread(rest, most - len(first)), *reversed(first)]
