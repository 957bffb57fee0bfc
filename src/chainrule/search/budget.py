"""The time that a search has: most of it is for trials, the rest for what comes after them."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

TIME_FOR_TRIALS = 0.8
"""The share of the time that is for trials, at most; the rest is for the leaders and the final
model, which may need more."""


@dataclass(eq=False)
class Budget:
    """Seconds from now on, in which models are trained fully at the end: on more rows than a
    trial's, for so many epochs, and `threads` models at a time."""

    seconds: float = math.inf
    epochs: int = 1
    models: int = 1
    threads: int = 1
    more_rows: float = 1.0
    _began: float = field(init=False)
    _paces: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @contextlib.contextmanager
    def not_counted(self) -> Iterator[None]:
        """What takes no time of the search: to read what it found before."""
        began = time.monotonic()
        yield
        self._began += time.monotonic() - began

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
        turns = math.ceil(self.models / self.threads)
        return self.needs_fully(leader) * turns if known else 0.0

    def needs_fully(self, trial: int) -> float:
        """The seconds to train a trial's settings on all rows to the end; 0 if nobody knows."""
        return self.needs(trial, self.epochs) * self.more_rows

    def left_for_trials(self, leader: int) -> float:
        """Seconds, if that trial's settings are those of the final model."""
        reserved = self.at_the_end(leader)
        if self.seconds < math.inf:
            reserved = max(reserved, (1.0 - TIME_FOR_TRIALS) * self.seconds)
        return self.left - reserved
