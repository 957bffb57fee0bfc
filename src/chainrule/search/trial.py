"""The rules of a search, its trials, and the rounds that they are drawn in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .halving import FIRST, Score
from .space import Parameter, Settings

Draw = Literal["random", "sobol", "tpe", "cmaes"]
Status = Literal["running", "done", "abandoned", "failed"]

TOO_SLOW = "too slow to be trained fully in the time"
"""The reason for which a trial is given up."""


@dataclass(frozen=True)
class Rules:
    """What a plan follows from, beside the space and the scores."""

    seed: int
    trials: int | None
    epochs: int
    factor: int | None
    round_size: int
    narrow: bool
    draw: Draw
    together: int = FIRST
    """How many trials, the first ones, are compared with each other."""


@dataclass(eq=False)
class Trial:
    """One setting, and how it fared: a score at each rung that it came to."""

    number: int
    round: int
    settings: Settings
    scores: list[Score] = field(default_factory=list)
    status: Status = "running"
    reason: str = ""

    @property
    def too_slow(self) -> bool:
        """Whether it has been given up because there is no time to train it fully."""
        return self.reason == TOO_SLOW

    @property
    def rank(self) -> tuple[int, float, float, int]:
        """Smaller is better: who came further, then the score there, then who came first."""
        last = self.scores[-1] if self.scores else Score(np.inf, np.inf)
        return -len(self.scores), last.cost, last.tie, self.number


@dataclass(frozen=True, eq=False)
class Round:
    """Trials drawn from the same ranges; the reasons say why these are other than before.

    They follow from all trials but the last few of the round before, so that threads need not wait
    for those.
    """

    number: int
    space: dict[str, Parameter]
    reasons: dict[str, str]


def ranking(trials: Iterable[Trial]) -> list[Trial]:
    """Those of them that have a score, the best one first."""
    scored = (trial for trial in trials if trial.scores and trial.status != "failed")
    return sorted(scored, key=lambda trial: trial.rank)
