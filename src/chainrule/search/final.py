"""What comes after the trials: the leaders are measured again, and one setting is trained fully."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..errors import TrainingError
from ..nn.average import Average
from ..training.session import Snapshot
from ..training.trainer import Trainer
from .budget import Budget
from .executors import reason_of
from .halving import Score
from .noise import noise
from .objective import Objective
from .plan import Plan
from .recorded import recorded_score
from .study import Number, Study
from .trial import Trial

LEADERS = 5
"""The most trials that are measured again."""

MORE_SPLITS = 3
"""On how many further splits of the rows."""


@dataclass(frozen=True, eq=False)
class Final:
    """The final model, the trials whose settings it has, and the best validation score of all."""

    trials: list[Trial]
    trainer: Trainer
    best_cost: float


def finish(
    plan: Plan,
    objective: Objective,
    study: Study,
    threads: int,
    budget: Budget,
    tell: Callable[[str], None] = lambda phase: None,
) -> Final:
    """Rank the leaders, and train the first ones that can be trained on all rows.

    `tell` is told what begins.
    """
    ranking = plan.best()
    if not ranking:
        raise TrainingError(f"no trial came to {plan.rungs[0]} epochs: nothing to choose from")
    in_time = [trial for trial in ranking if not trial.too_slow]
    if in_time and len(in_time[0].scores) > 1:  # else what they need is not known either
        ranking = in_time
    best = ranking[0]
    finished = [trial for trial in ranking if len(trial.scores) == len(best.scores)]
    cost = best.scores[-1].cost
    limit = cost + noise(objective.metric, cost, objective.validation_rows)
    leaders = [trial for trial in finished[:LEADERS] if trial.scores[-1].cost <= limit]
    if len(leaders) > 1:
        tell(f"measuring {len(leaders)} leaders again")
        leaders = _ranked_again(leaders, objective, study, threads, budget)
    others = [trial for trial in finished if trial not in leaders]
    tell("training the final model")
    members = _members([*leaders, *others], objective, threads, budget)
    trainer = averaged([trainer for _, trainer in members])
    chosen = [trial for trial, _ in members]
    _write(study, chosen, trainer)
    return Final(chosen, trainer, cost)


def _members(
    ranking: Sequence[Trial], objective: Objective, threads: int, budget: Budget
) -> list[tuple[Trial, Trainer]]:
    """The first so many that can be trained, as far as there is time; at least one."""
    found: list[tuple[Trial, Trainer]] = []
    count = budget.models
    reason, first = "", max(LEADERS, count)
    for place in _places(len(ranking), first):
        trial = ranking[place]
        is_late = budget.left < budget.at_the_end(trial.number) / count
        if len(found) == count or (found and (is_late or place >= first)):
            break
        try:
            trainer = objective.trainer(trial.settings)
            trainer.use_threads(threads)
            objective.train_fully(trainer, trial.settings)
        except Exception as error:  # as in a trial
            reason = reason or reason_of(error)
        else:
            trainer.use_threads(trainer.threads)
            found.append((trial, trainer))
    if not found:
        raise TrainingError(f"the final model cannot be trained: {reason}")
    return found


def _places(length: int, first: int) -> Iterator[int]:
    """The first places of a ranking, then some further and further down.

    Neighbours fail alike: of 10,000 trials all leaders may have a rate at the edge of what their
    part of the rows bears, and all rows do not.
    """
    place = 0
    while place < length:
        yield place
        place = place + 1 if place < first else place * 3 // 2


def averaged(trainers: Sequence[Trainer]) -> Trainer:
    """One model that predicts the mean of theirs; it has the first one's optimizer and history."""
    first = trainers[0]
    if len(trainers) == 1:
        return first
    model = Average([trainer.model for trainer in trainers], first.loss)
    whole = Trainer(**(first.fields() | {"model": model}))
    path = {leaf: f"model.{path}" for path, leaf in model.leaves().items()}
    leaves = [(t, leaf) for t in trainers for leaf in t.model.leaves().values()]
    values = {path[leaf]: trainer.value(leaf) for trainer, leaf in leaves}
    whole.session.restore(Snapshot(values, first.session.steps_done))
    assert first.features is not None
    whole.expect_features(first.features)
    whole.history = first.history
    return whole


def _ranked_again(
    leaders: Sequence[Trial], objective: Objective, study: Study, threads: int, budget: Budget
) -> list[Trial]:
    """Those within noise of the best, by their mean score on this split and on further ones."""
    query = "SELECT trial, split, score, loss FROM splits"
    rows = study.rows(query, tuple[int, int, Number, Number])
    known = {(trial, split): recorded_score(objective, s, loss) for trial, split, s, loss in rows}
    totals = {trial.number: trial.scores[-1].cost for trial in leaders}
    for split in range(1, MORE_SPLITS + 1):
        longest = max(budget.needs(trial.number, objective.epochs) for trial in leaders)
        takes = math.ceil(len(leaders) / threads) * longest
        if budget.left < takes + budget.at_the_end(leaders[0].number):
            break

        def measure(trial: Trial, split: int = split) -> Score:
            return known.get((trial.number, split)) or _measured(trial, objective, split)

        with ThreadPoolExecutor(threads) as pool:
            scores = list(pool.map(measure, leaders))
        for trial, score in zip(leaders, scores, strict=True):
            totals[trial.number] += score.cost
            values = {"score": objective.natural(score.cost), "loss": score.loss}
            study.write([("splits", {"trial": trial.number, "split": split, **values})])
    return sorted(leaders, key=lambda trial: totals[trial.number])


def _measured(trial: Trial, objective: Objective, split: int) -> Score:
    try:
        trainer = objective.trainer(trial.settings)
        trainer.use_threads(1)
        objective.train(trainer, trial.settings, objective.epochs, split)
        return objective.score(trainer, split)
    except Exception:  # as in a trial
        return Score(math.inf, math.inf)


def _write(study: Study, trials: Sequence[Trial], trainer: Trainer) -> None:
    rows = [
        ("final", {"epoch": epoch, "metric": name, "value": value})
        for name, values in trainer.history.items()
        for epoch, value in enumerate(values, start=1)
    ]
    study.write(rows)
    best = trials[0]
    averaged_trials = [trial.number for trial in trials]
    study.note(best=best.number, settings=dict(best.settings), averaged=averaged_trials)
