"""Where the settings of a trial come from: a draw from ranges that move from round to round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..graph.tensor import Array
from .narrowing import MOST, how_many_are_good, narrowed, within_reach
from .space import Parameter, Settings, Space, draw
from .trial import Round, Rules, Trial, ranking

DRAW_STREAM = 1 << 33
"""Apart from the streams of initial values, and of shuffles."""

EVERY = 5
"""One trial in so many is drawn from the first ranges, lest narrowing misses something."""

NARROW_ATTEMPTS = 100
"""Attempts to draw new settings from narrow ranges, before the first ranges are drawn from."""

MOST_AHEAD = 1 << 30
"""Where no draw depends on trials before it."""

LAG = 4
"""One in so many trials of a round comes too late to be considered in the next."""


class Sampler(Protocol):
    """Draws the settings of one trial after the other."""

    rounds: list[Round]
    ahead: int
    """How many trials it draws before any has ended."""

    def draw(self, trials: Sequence[Trial], attempt: int = 0) -> tuple[int, Settings] | None:
        """The round and the settings of the next trial; None while it waits for others to end.

        A further `attempt` draws others, where a trial has had the settings of the one before.
        What is drawn may depend on the number of the trial and on trials that have ended, but not
        on which others happen to have ended too.
        """


class Ranges:
    """Draws at random, or evenly, from ranges that are narrowed after each round."""

    def __init__(
        self, rules: Rules, space: dict[str, Parameter], accepts: Callable[[Settings], bool]
    ) -> None:
        self.rules, self._accepts = rules, accepts
        self.rounds = [Round(0, space, {})]
        self.ahead = rules.round_size if rules.narrow else MOST_AHEAD
        self._known = 0
        """How many trials the last round follows from."""
        self._best: list[Trial] = []
        """Of those, as many as may count as good."""

    def draw(self, trials: Sequence[Trial], attempt: int = 0) -> tuple[int, Settings] | None:
        """From the ranges of the round, once they are known."""
        number = len(trials)
        found = number // self.rules.round_size if self.rules.narrow else 0
        if found == len(self.rounds) and not self._narrow(trials):
            return None
        wide = number % EVERY == EVERY - 1 or attempt >= NARROW_ATTEMPTS
        space = self.rounds[0 if wide else found].space
        return found, draw(space, self._places(space, number, attempt).tolist())

    def _narrow(self, trials: Sequence[Trial]) -> bool:
        """Make the next round, if all have ended that it follows from."""
        known = len(trials) - self.rules.round_size // LAG
        new = trials[self._known : known]
        if any(trial.status == "running" for trial in new):
            return False
        self._known, self._best = known, ranking([*self._best, *new])[:MOST]
        good = [trial.settings for trial in self._best[: how_many_are_good(known)]]
        tried = [trial.settings for trial in trials[:known]]
        first = self.rounds[0].space
        space, reasons = narrowed(self.rounds[-1].space, first, good, tried)
        for name in reasons:
            space[name] = within_reach(name, space[name], first[name], good[0], self._accepts)
        self.rounds.append(Round(len(self.rounds), space, reasons))
        return True

    def _places(self, space: Space, number: int, attempt: int) -> Array:
        if self.rules.draw == "sobol" and not attempt:
            return sobol(self.rules.seed, len(space), number)
        stream = np.random.Philox(
            key=[self.rules.seed, DRAW_STREAM + number], counter=[0, 0, 0, attempt]
        )
        return np.random.Generator(stream).random(len(space))


def sobol(seed: int, dimensions: int, number: int) -> Array:
    """A point of a low-discrepancy sequence: it fills the space more evenly than chance does.

    Source: Joe and Kuo 2008, scrambled as by Owen 1998; SciPy computes it.
    """
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, seed=np.random.default_rng(seed))
    if number:
        sequence.fast_forward(number)
    return np.asarray(sequence.random()[0])


def make_sampler(
    rules: Rules, space: dict[str, Parameter], accepts: Callable[[Settings], bool]
) -> Sampler:
    """What draws as the rules say."""
    if rules.draw in ("random", "sobol"):
        return Ranges(rules, space, accepts)
    from .optuna_sampler import OptunaSampler

    return OptunaSampler(rules, space)
