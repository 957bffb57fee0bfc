"""Optuna's samplers, by ask and tell."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from . import halving
from .space import Choice, Integer, LogUniform, Parameter, Settings, Uniform, settle
from .space import draw as drawn
from .trial import Round, Rules, Trial

OWN_ATTEMPTS = 20
"""Attempts of Optuna's to find new settings; then they are drawn at random. It asks again for what
was best: of 1 to 30 it left six out in a thousand attempts."""

LAG = 8
"""Trial n is drawn when all up to n − 8 have ended, so that 8 threads have something to do."""


class OptunaSampler:
    """TPE or CMA-ES: they narrow by themselves, so there is one round.

    Source: Akiba et al. 2019; Bergstra et al. 2011 (TPE); Hansen 2016 (CMA-ES).
    """

    def __init__(self, rules: Rules, space: dict[str, Parameter]) -> None:
        try:
            optuna: Any = importlib.import_module("optuna")
        except ImportError:
            raise InputError(
                f"Search: draw={rules.draw!r} needs Optuna: pip install 'chainrule[optuna]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers: dict[str, Any] = {
            "tpe": optuna.samplers.TPESampler,
            # It has a warning for each setting that it leaves to chance: choices, conditions.
            "cmaes": functools.partial(
                optuna.samplers.CmaEsSampler, warn_independent_sampling=False
            ),
        }
        self._optuna = optuna
        self._study = optuna.create_study(sampler=samplers[rules.draw](seed=rules.seed))
        self._rungs = halving.rungs(rules.epochs, rules.factor)
        self._asked: list[Any] = []
        self._told = 0
        self.rounds, self.ahead = [Round(0, space, {})], LAG + 1

    def draw(self, trials: Sequence[Trial], attempt: int = 0) -> tuple[int, Settings] | None:
        """Told of all trials but the last few, in their order."""
        space, number = self.rounds[0].space, len(trials)
        if attempt:
            self._study.tell(self._asked.pop(), state=self._optuna.trial.TrialState.FAIL)
        if attempt >= OWN_ATTEMPTS:
            chance = np.random.Generator(np.random.Philox(key=[number, attempt]))
            self._study.enqueue_trial(drawn(space, chance.random(len(space)).tolist()))
        while self._told < len(trials) - LAG:
            if trials[self._told].status == "running":
                return None
            self._tell(trials[self._told])
            self._told += 1
        asked = self._study.ask()
        self._asked.append(asked)
        return 0, settle(space, functools.partial(_suggested, asked))

    def _tell(self, trial: Trial) -> None:
        asked, states = self._asked[trial.number], self._optuna.trial.TrialState
        self._asked[trial.number] = None
        for rung, score in enumerate(trial.scores):
            asked.report(score.cost, self._rungs[rung])
        if trial.status == "done":
            self._study.tell(asked, trial.scores[-1].cost)
        else:
            failed = trial.status == "failed" or not trial.scores
            self._study.tell(asked, state=states.FAIL if failed else states.PRUNED)


def _suggested(asked: Any, name: str, parameter: Parameter) -> Any:
    match parameter:
        case LogUniform(low=low, high=high):
            return asked.suggest_float(name, low, high, log=True)
        case Uniform(low=low, high=high):
            return asked.suggest_float(name, low, high)
        case Integer(low=low, high=high, log=log):
            return asked.suggest_int(name, low, high, log=log)
        case Choice(options=options):
            return asked.suggest_categorical(name, options)
    raise InputError(f"Search: {parameter!r} is nothing that Optuna can draw")
