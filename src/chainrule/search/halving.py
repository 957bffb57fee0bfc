"""Asynchronous successive halving: bad trials are abandoned after few epochs.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (ASHA), in the form
where a trial stops or goes on at once.

What a trial is compared with does not depend on who came first: at a rung, it is the trials with
smaller numbers. So a trial waits there until those before it have come to the rung, or have been
abandoned, while its thread goes on with other trials; and the study is the same for any number of
threads. The first ones are compared with each other, or the very first, whatever it is like, would
be trained to the end.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

FIRST = 9
"""How many trials are compared with each other: of as many the usual factor of 3 leaves one after
two rungs."""


@dataclass(frozen=True, order=True)
class Score:
    """What trials are compared by: smaller is better; equal costs by `tie`.

    `loss` is told, and compares nothing: settings may change what it means.
    """

    cost: float
    tie: float
    loss: float = field(default=math.inf, compare=False)


def rungs(epochs: int, factor: int | None) -> list[int]:
    """The epochs after which trials are compared: a factor apart, the last one being the end.

    >>> rungs(50, 3)
    [2, 6, 17, 50]
    >>> rungs(50, None)
    [50]
    """
    if factor is None:
        return [epochs]
    powers = (factor**k for k in itertools.count())
    exact = itertools.takewhile(lambda x: x >= 1, (epochs / power for power in powers))
    return sorted({round(x) for x in exact})


def goes_on(place: int, trials: int, factor: int) -> bool:
    """Whether the trial at a place, from 1, of so many is among the best of them.

    >>> [place for place in range(1, 9) if goes_on(place, 8, 3)]
    [1, 2, 3]
    """
    return place <= math.ceil(trials / factor)
