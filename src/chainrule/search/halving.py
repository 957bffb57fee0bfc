"""Asynchronous successive halving: bad trials are abandoned after few epochs.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (ASHA), in the form
where a trial stops or goes on at once.

What a trial is compared with does not depend on who came first: at a rung, it is the trials with
smaller numbers. So a trial waits there until those before it have come to the rung, or have been
abandoned, while its thread goes on with other trials; and the study is the same for any number of
threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Score:
    """What trials are compared by: smaller is better; equal ones by their loss."""

    cost: float
    loss: float


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


def goes_on(score: Score, earlier: Sequence[Score], factor: int) -> bool:
    """Whether a trial is among the best of those that came to the rung before it, and itself.

    >>> goes_on(Score(0.2, 0.2), [Score(0.1, 0.1), Score(0.3, 0.3)], 3)
    False
    """
    better = sum(other <= score for other in earlier)
    return better < math.ceil((len(earlier) + 1) / factor)
