"""What a study that is resumed tells of its trials, so that none is trained again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..errors import FileError
from .halving import Score
from .objective import Objective
from .plan import Task
from .study import Number, Study, to_json
from .trial import TOO_SLOW, Trial


@dataclass(frozen=True)
class Recorded:
    """Scores at rungs, why trials failed, and which settings they had."""

    found: dict[Task, Score | str] = field(default_factory=dict)
    settings: dict[int, Any] = field(default_factory=dict)
    too_slow: dict[int, int] = field(default_factory=dict)
    """The last rung of those for which there was no time."""
    path: object = None

    def check(self, trial: Trial) -> None:
        """A trial that is drawn again must be the same: another library may draw another."""
        here = msgspec.json.decode(to_json(dict(trial.settings)))
        there = self.settings.get(trial.number, here)
        if here != there:
            raise FileError(
                f"{self.path}: trial {trial.number} was {there}, and would now be {here}: the "
                "study was made by other versions of Python's packages, or has been changed"
            )


def recorded(study: Study, objective: Objective) -> Recorded:
    """All that is known of trials."""
    found: dict[Task, Score | str] = {}
    came_to: dict[int, int] = {}
    rungs = "SELECT trial, rung, score, loss FROM rungs"
    for trial, rung, score, loss in study.rows(rungs, tuple[int, int, Number, Number]):
        found[Task(trial, rung)] = recorded_score(objective, score, loss)
        came_to[trial] = max(came_to.get(trial, 0), rung + 1)
    too_slow: dict[int, int] = {}
    trials = "SELECT number, status, reason FROM trials"
    for trial, status, reason in study.rows(trials, tuple[int, str, str]):
        if status == "failed":
            found[Task(trial, came_to.get(trial, 0))] = reason
        elif reason == TOO_SLOW:
            too_slow[trial] = came_to.get(trial, 0) - 1
    return Recorded(found, study.settings(), too_slow, study.path)


def recorded_score(objective: Objective, score: Number, loss: Number) -> Score:
    """A score as trials are compared by it; SQLite has no infinity, which stands there as NULL."""
    cost = math.inf if score is None else objective.natural(score)
    return objective.scored(cost, math.inf if loss is None else loss)
