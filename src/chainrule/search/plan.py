"""What a search does next: which trial starts, goes on, or is abandoned, and where it draws from.

All of it follows from the seed and the scores, and from no clock. So a study can be taken up again,
and more threads make it faster but not different. Where there is a limit of time, the one who has
the clock says for what there is none: it asks for other tasks, and gives up trials.
"""

from __future__ import annotations

import bisect
import collections
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import halving
from .halving import Score
from .sampling import make_sampler
from .space import Parameter, Settings
from .trial import TOO_SLOW, Round, Rules, Status, Trial, ranking

HOPELESS = 10
"""A search ends when so many trials, the first ones, have all failed."""

MOST_OPEN = 256
"""Trials that are kept in memory at most, those that wait for slow ones before them too."""


MOST_ATTEMPTS = 1000
"""Draws without new settings after which there are none: with one left of 100 it is missed once in
20,000 times."""


@dataclass(frozen=True)
class Task:
    """Train a trial up to a rung."""

    trial: int
    rung: int


class Plan:
    """Hands out tasks, is told the scores, and decides."""

    def __init__(
        self,
        rules: Rules,
        space: dict[str, Parameter],
        accepts: Callable[[Settings], bool] = lambda settings: True,
    ) -> None:
        """`accepts` says whether settings beyond the first ranges make a trainer."""
        self.rules = rules
        self.rungs = halving.rungs(rules.epochs, rules.factor)
        self.trials: list[Trial] = []
        self._sampler = make_sampler(rules, space, accepts)
        self._drawn: set[bytes] = set()
        """The digests of all settings: whole dictionaries would be some 2 KB a trial."""
        self.exhausted = False
        """Whether no new settings are found any more."""
        self.unwritten: list[Trial] = []
        """Trials that were decided upon when that was found."""
        self._open = 0
        """Trials that have not ended."""
        self._settled = [0] * len(self.rungs)
        """For each rung, how many trials have come to it or ended: the first ones, in order."""
        self._scores: list[list[tuple[Score, int]]] = [[] for _ in self.rungs]
        """Of the settled, the best first, with the trials' numbers."""
        most = rules.trials or MOST_OPEN
        self._together = min(rules.together, most, self._sampler.ahead, MOST_OPEN)
        self._ready: set[int] = set()
        self.counts: collections.Counter[str] = collections.Counter()
        """How many trials ended in which way."""
        self.leader: Trial | None = None
        """The best of the trials that came furthest, those that are too slow last. It is for the
        eye and the clock, and decides nothing."""

    def next(
        self, fits: Callable[[Task], bool] = lambda task: True, last: int | None = None
    ) -> Task | None:
        """What can be done now; the trial with the smallest number goes first.

        Where there is no time for one to go on, others may still begin: up to number `last`.
        """
        for number in sorted(self._ready):
            task = Task(number, len(self.trials[number].scores))
            if fits(task):
                self._ready.remove(number)
                return task
        number = len(self.trials)
        is_beyond = last is not None and number > last
        if self._all_started or self._open >= MOST_OPEN or is_beyond:
            return None
        drawn = self._new_settings()
        if drawn is None and self.exhausted:  # then fewer are compared with each other
            self.unwritten += self._settle()
            return self.next(fits)
        if drawn is None:
            return None
        self.trials.append(Trial(number, *drawn))
        self._open += 1
        return Task(number, 0)

    def _new_settings(self) -> tuple[int, Settings] | None:
        """The round and settings that no trial has had: an equal one would tell nothing new."""
        for attempt in range(MOST_ATTEMPTS):
            drawn = self._sampler.draw(self.trials, attempt)
            if drawn is None:
                return None
            text = repr(tuple(drawn[1].items()))
            key = hashlib.blake2b(text.encode(), digest_size=8).digest()
            if key not in self._drawn:
                self._drawn.add(key)
                return drawn
        self.exhausted = True
        return None

    @property
    def rounds(self) -> list[Round]:
        """The ranges that trials were drawn from so far."""
        return self._sampler.rounds

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        return self._all_started and self._open == 0

    @property
    def _all_started(self) -> bool:
        return len(self.trials) == self.rules.trials or self.exhausted or bool(self.failing)

    @property
    def failing(self) -> str:
        """The commonest reason, where the first trials have all failed."""
        first = self.first_ones
        most = len(self.trials) if self.exhausted else self.rules.trials or HOPELESS
        if not first or len(first) < min(HOPELESS, most):
            return ""
        if any(trial.status != "failed" for trial in first):
            return ""
        return self.commonest_reason

    @property
    def commonest_reason(self) -> str:
        """The reason that most of the first trials ended for."""
        reasons = collections.Counter(trial.reason for trial in self.first_ones)
        return reasons.most_common(1)[0][0]

    @property
    def first_ones(self) -> list[Trial]:
        """Those that decide whether there is any hope."""
        return self.trials[:HOPELESS]

    def report(self, task: Task, score: Score) -> list[Trial]:
        """A trial has come to a rung; the trials that were decided upon."""
        trial = self.trials[task.trial]
        trial.scores.append(score)
        if self.leader is None or _leads(trial) < _leads(self.leader):
            self.leader = trial
        if task.rung == len(self.rungs) - 1:
            self._end(trial, "done", "trained fully")
        return [trial, *self._settle()]

    def fail(self, task: Task, reason: str) -> list[Trial]:
        """A trial cannot be trained; the trials that were decided upon."""
        trial = self.trials[task.trial]
        self._end(trial, "failed", reason)
        self._find_leader(trial)
        return [trial, *self._settle()]

    def give_up(self, task: Task) -> list[Trial]:
        """There is no time for a trial that has come to a rung; the trials decided upon."""
        trial = self.trials[task.trial]
        if trial.status != "running":
            return []
        self._ready.discard(trial.number)
        self._end(trial, "abandoned", TOO_SLOW)
        self._find_leader(trial)
        return [trial, *self._settle()]

    def end(self, reason: str) -> list[Trial]:
        """There is no more time for any; those that had not ended."""
        unfinished = [trial for trial in self.trials if trial.status == "running"]
        for trial in unfinished:
            self._end(trial, "abandoned", reason)
        return unfinished

    def _find_leader(self, gone: Trial) -> None:
        if gone is self.leader:
            self.leader = min(self.best(), key=_leads, default=None)

    def best(self) -> list[Trial]:
        """All trials that have a score, the best one first."""
        return ranking(self.trials)

    def _settle(self) -> list[Trial]:
        """Decide upon all whose predecessors have come as far, or ended."""
        return [trial for rung in range(len(self.rungs)) for trial in self._settle_rung(rung)]

    def _settle_rung(self, rung: int) -> Iterator[Trial]:
        while trials := self._next_to_settle(rung):
            self._settled[rung] += len(trials)
            come = [trial for trial in trials if len(trial.scores) > rung]
            for trial in come:
                bisect.insort(self._scores[rung], (trial.scores[rung], trial.number))
            if rung < len(self.rungs) - 1:
                for trial in come:
                    self._decide(trial, rung)
                yield from come

    def _next_to_settle(self, rung: int) -> list[Trial]:
        """The next trial, or the first ones, if all of them have come to the rung or ended."""
        start = self._settled[rung]
        count = 1 if start else self._together
        if self.exhausted:
            count = min(count, len(self.trials))
        trials = self.trials[start : start + count]
        waits = any(trial.status == "running" and len(trial.scores) <= rung for trial in trials)
        return [] if waits or len(trials) < max(count, 1) else trials

    def _decide(self, trial: Trial, rung: int) -> None:
        assert self.rules.factor is not None
        if trial.status == "failed":
            return
        scores = self._scores[rung]
        place = bisect.bisect(scores, (trial.scores[rung], trial.number))
        if halving.goes_on(place, len(scores), self.rules.factor):
            self._ready.add(trial.number)
            return
        epochs = self.rungs[rung]
        self._end(
            trial,
            "abandoned",
            f"after {epochs} epoch{'s' * (epochs > 1)} number {place} of {len(scores)}",
        )

    def _end(self, trial: Trial, status: Status, reason: str) -> None:
        trial.status, trial.reason = status, reason
        self.counts[status] += 1
        self._open -= 1


def _leads(trial: Trial) -> tuple[Any, ...]:
    return trial.too_slow, trial.rank
