"""What a search does next: which trial starts, goes on, or is abandoned, and where it draws from.

All of it follows from the seed and the scores, and from no clock. So a study can be taken up again,
and more threads make it faster but not different.
"""

from __future__ import annotations

import bisect
import collections
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..graph.tensor import Array
from . import halving
from .halving import Score
from .narrowing import how_many_are_good, narrowed
from .space import Parameter, Settings, Space, draw

DRAW_STREAM = 1 << 33
"""Apart from the streams of initial values, and of shuffles."""

EVERY = 5
"""One trial in so many is drawn from the first ranges, lest narrowing misses something."""

LAG = 4
"""One in so many trials of a round comes too late to be considered in the next."""

HOPELESS = 10
"""A search ends when so many trials have failed, and none has not."""

Draw = Literal["random", "sobol"]
Status = Literal["running", "done", "abandoned", "failed"]


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
    def rank(self) -> tuple[int, float, float, int]:
        """Smaller is better: who came further, then the score there, then who came first."""
        last = self.scores[-1] if self.scores else Score(np.inf, np.inf)
        return -len(self.scores), last.cost, last.loss, self.number


@dataclass(frozen=True, eq=False)
class Round:
    """Trials drawn from the same ranges; the reasons say why these are other than before.

    They follow from all trials but the last few of the round before, so that threads need not wait
    for those.
    """

    number: int
    space: dict[str, Parameter]
    reasons: dict[str, str]


@dataclass(frozen=True)
class Task:
    """Train a trial up to a rung."""

    trial: int
    rung: int


class Plan:
    """Hands out tasks, is told the scores, and decides."""

    def __init__(self, rules: Rules, space: dict[str, Parameter]) -> None:
        self.rules = rules
        self.rungs = halving.rungs(rules.epochs, rules.factor)
        self.trials: list[Trial] = []
        self.rounds = [Round(0, space, {})]
        self._open = 0
        """Trials that have not ended."""
        self._ended = 0
        """Trials from the first one on that have."""
        self._settled = [0] * len(self.rungs)
        """For each rung, how many trials have come to it or ended: the first ones, in order."""
        self._scores: list[list[Score]] = [[] for _ in self.rungs]  # of the settled, sorted
        self._ready: set[int] = set()
        self.counts: collections.Counter[str] = collections.Counter()
        """How many trials ended in which way."""
        self.best_score: Score | None = None
        """Of the trials that came furthest; it is for the eye, and decides nothing."""
        self._furthest = 0

    def next(self) -> Task | None:
        """What can be done now; the trial with the smallest number goes first."""
        if self._ready:
            number = min(self._ready)
            self._ready.remove(number)
            return Task(number, len(self.trials[number].scores))
        number = len(self.trials)
        if number == self.rules.trials or self.failing or not self._round_is_known(number):
            return None
        self.trials.append(self._drawn(number))
        self._open += 1
        return Task(number, 0)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        all_started = len(self.trials) == self.rules.trials or bool(self.failing)
        return all_started and self._open == 0

    @property
    def failing(self) -> str:
        """The commonest reason, where all trials fail."""
        ended = [trial for trial in self.trials if trial.status != "running"]
        enough = len(ended) >= min(HOPELESS, self.rules.trials or HOPELESS)
        if not enough or any(trial.status != "failed" for trial in ended):
            return ""
        return collections.Counter(trial.reason for trial in ended).most_common(1)[0][0]

    def report(self, task: Task, score: Score) -> list[Trial]:
        """A trial has come to a rung; the trials that were decided upon."""
        trial = self.trials[task.trial]
        trial.scores.append(score)
        if task.rung > self._furthest or self.best_score is None:
            self._furthest, self.best_score = task.rung, score
        elif task.rung == self._furthest:
            self.best_score = min(self.best_score, score)
        if task.rung == len(self.rungs) - 1:
            self._end(trial, "done", "trained fully")
        return [trial, *self._settle()]

    def fail(self, task: Task, reason: str) -> list[Trial]:
        """A trial cannot be trained; the trials that were decided upon."""
        trial = self.trials[task.trial]
        self._end(trial, "failed", reason)
        return [trial, *self._settle()]

    def best(self) -> list[Trial]:
        """All trials that have a score, the best one first."""
        return _ranking(self.trials)

    def _settle(self) -> list[Trial]:
        """Decide upon all whose predecessors have come as far, or ended."""
        return [trial for rung in range(len(self.rungs)) for trial in self._settle_rung(rung)]

    def _settle_rung(self, rung: int) -> Iterator[Trial]:
        while self._settled[rung] < len(self.trials):
            trial = self.trials[self._settled[rung]]
            if len(trial.scores) > rung:
                if rung < len(self.rungs) - 1:
                    self._decide(trial, rung)
                    yield trial
                bisect.insort(self._scores[rung], trial.scores[rung])
            elif trial.status == "running":
                return
            self._settled[rung] += 1

    def _decide(self, trial: Trial, rung: int) -> None:
        assert self.rules.factor is not None
        earlier, score = self._scores[rung], trial.scores[rung]
        if trial.status == "failed":
            return
        if halving.goes_on(score, earlier, self.rules.factor):
            self._ready.add(trial.number)
            return
        place = bisect.bisect_right(earlier, score) + 1
        epochs = self.rungs[rung]
        self._end(
            trial,
            "abandoned",
            f"after {epochs} epoch{'s' * (epochs > 1)} number {place} of {len(earlier) + 1}",
        )

    def _end(self, trial: Trial, status: Status, reason: str) -> None:
        trial.status, trial.reason = status, reason
        self.counts[status] += 1
        self._open -= 1

    def _round_is_known(self, number: int) -> bool:
        """Whether the ranges are known that a trial is drawn from."""
        wanted = self._round_of(number)
        size = self.rules.round_size
        known = self.trials[: wanted * size - size // LAG]
        if wanted == len(self.rounds) and self._have_ended(len(known)):
            last = self.rounds[-1]
            best = _ranking(known)
            good = [trial.settings for trial in best[: how_many_are_good(len(known))]]
            tried = [trial.settings for trial in known]
            space, reasons = narrowed(last.space, self.rounds[0].space, good, tried)
            self.rounds.append(Round(wanted, space, reasons))
        return wanted < len(self.rounds)

    def _have_ended(self, count: int) -> bool:
        """Whether the first trials have, that many of them."""
        while self._ended < count and self.trials[self._ended].status != "running":
            self._ended += 1
        return self._ended >= count

    def _round_of(self, number: int) -> int:
        return number // self.rules.round_size if self.rules.narrow else 0

    def _drawn(self, number: int) -> Trial:
        found = self._round_of(number)
        space = self.rounds[0 if number % EVERY == EVERY - 1 else found].space
        return Trial(number, found, draw(space, self._places(space, number).tolist()))

    def _places(self, space: Space, number: int) -> Array:
        if self.rules.draw == "sobol":
            return sobol(self.rules.seed, len(space), number)
        key = [self.rules.seed, DRAW_STREAM + number]
        return np.random.Generator(np.random.Philox(key=key)).random(len(space))


def sobol(seed: int, dimensions: int, number: int) -> Array:
    """A point of a low-discrepancy sequence: it fills the space more evenly than chance does.

    Source: Joe and Kuo 2008, scrambled as by Owen 1998; SciPy computes it.
    """
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, seed=np.random.default_rng(seed))
    if number:
        sequence.fast_forward(number)
    return np.asarray(sequence.random()[0])


def _ranking(trials: Iterable[Trial]) -> list[Trial]:
    scored = (trial for trial in trials if trial.scores and trial.status != "failed")
    return sorted(scored, key=lambda trial: trial.rank)
