"""What a search found: the settings, the final model, and its one test."""

from __future__ import annotations

import datetime
import warnings
from typing import TYPE_CHECKING, Any

import msgspec

from .final import Final
from .noise import flattery
from .objective import Objective
from .plan import Plan
from .study import Json, Study

if TYPE_CHECKING:
    import polars


class SecondLook(UserWarning):
    """The test rows have been measured before: their score is no longer that of unseen rows."""


class Result:
    """The final model, trained fully with the best settings; `test` measures it, once."""

    def __init__(self, final: Final, plan: Plan, objective: Objective, study: Study) -> None:
        self.trainer, self.best = final.trainer, final.trials[0]
        self.best_settings = dict(self.best.settings)
        self.averaged = [trial.number for trial in final.trials]
        """The trials whose settings the final model has: with `average`, the mean of several."""
        self.best_score = objective.natural(final.best_cost)
        """The best validation score of all trials: it has been chosen for being good."""
        self.metric = objective.metric
        self.flattery = flattery(
            self.metric, self.best_score, objective.validation_rows, len(plan.best())
        )
        """By how much it may flatter."""
        self.plan, self._objective, self._study = plan, objective, study

    @property
    def trials(self) -> polars.DataFrame:
        """All trials, a row each: what became of them, settings, epochs, score, loss."""
        import polars

        rows = [
            {
                "number": trial.number,
                "round": trial.round,
                "status": trial.status,
                "reason": trial.reason,
                "epochs": self.plan.rungs[len(trial.scores) - 1] if trial.scores else 0,
                "score": self._objective.natural(trial.scores[-1].cost) if trial.scores else None,
                "loss": trial.scores[-1].loss if trial.scores else None,
                **{name: trial.settings.get(name) for name in self.plan.rounds[0].space},
            }
            for trial in self.plan.trials
        ]
        return polars.DataFrame(rows, infer_schema_length=None)

    def test(self, X: Any, y: Any) -> dict[str, float]:
        """The final model's scores on rows that the search has not seen; each look is recorded."""
        scores = self.trainer.evaluate(X, y)
        ((looks,),) = self._study.rows("SELECT count(*) FROM looks", tuple[int])
        if looks:
            warnings.warn(
                f"this is look number {looks + 1} at test rows: choose nothing by it",
                SecondLook,
                stacklevel=2,
            )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        row = {"number": looks + 1, "time": now, "scores": Json(scores)}
        self._study.write([("looks", row)])
        return scores

    def close(self) -> None:
        """Let the study's file go; it is also let go with the result."""
        self._study.close()

    def __repr__(self) -> str:
        settings = msgspec.json.encode(self.best_settings).decode()
        return (
            f"<Result of {len(self.plan.trials)} trials: best {self.metric} {self.best_score:.4g} "
            f"(may flatter by {self.flattery:.2g}); chosen: {settings}>"
        )
