"""The time that a search has: most of it is for trials, the rest for what comes after them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

TIME_FOR_TRIALS = 0.8
"""The share of the time that is for trials, at most; the rest is for the leaders and the final
model, which may need more."""


@dataclass(eq=False)
class Budget:
    """Seconds from now on, in which models are trained fully at the end: on more rows than a
    trial's, and for so many epochs."""

    seconds: float = math.inf
    epochs: int = 1
    models: int = 1
    more_rows: float = 1.0
    _began: float = field(init=False)
    _paces: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self._began + self.seconds - time.monotonic()

    def took(self, trial: int, epochs: int, seconds: float) -> None:
        """What a trial has taken for some of its epochs."""
        if self.seconds < math.inf:
            self._paces.setdefault(trial, []).append(seconds / epochs)

    def needs(self, trial: int, epochs: int) -> float:
        """The seconds that a trial may take for so many epochs; 0 if it has not been trained."""
        return min(self._paces.get(trial, [0.0])) * epochs

    def at_the_end(self, leader: int) -> float:
        """The seconds that its settings may take when they are trained fully.

        What a trial took first is not believed alone: code may have been compiled in that time.
        """
        known = len(self._paces.get(leader, ())) > 1
        return self.needs(leader, self.epochs) * self.more_rows * self.models if known else 0.0

    def left_for_trials(self, leader: int) -> float:
        """Seconds, if that trial's settings are those of the final model."""
        reserved = self.at_the_end(leader)
        if self.seconds < math.inf:
            reserved = max(reserved, (1.0 - TIME_FOR_TRIALS) * self.seconds)
        return self.left - reserved
