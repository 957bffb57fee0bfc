"""What comes after the trials: the leaders are measured again, and one setting is trained fully."""

from __future__ import annotations

import copy
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ..advice import unheard
from ..errors import ChainruleError, TrainingError
from ..nn.average import Average
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
        reasons = [trial.reason for trial in plan.trials if trial.reason]
        by = f": the first ended by: {reasons[0]}" if reasons else ""
        raise TrainingError(f"no trial came to {plan.rungs[0]} epochs{by}")
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
    others = [trial for trial in ranking if trial not in leaders]
    tell("training the final model")
    members = _members([*leaders, *others], objective, threads, budget)
    trainer = averaged([trainer for _, trainer in members])
    chosen = [trial for trial, _ in members]
    _write(study, chosen, trainer)
    return Final(chosen, trainer, cost)


def _members(
    ranking: Sequence[Trial], objective: Objective, threads: int, budget: Budget
) -> list[tuple[Trial, Trainer]]:
    """The first so many that can be trained, as far as there is time; at least one.

    Several are trained side by side, a thread each.
    """
    count = budget.models
    found: list[tuple[Trial, Trainer]] = []
    reasons: list[str] = []

    def train(trial: Trial, stop: Callable[[], bool]) -> Trainer | None:
        try:
            with unheard():
                trainer = objective.trainer(trial.settings)
                trainer.use_threads(max(1, threads // count))
                objective.train_fully(trainer, trial.settings, stop)
        except ChainruleError as error:  # a time limit that a signal raises passes through
            reasons.append(reason_of(error))
            return None
        trainer.use_threads(trainer.threads)
        return trainer

    places = _places(len(ranking), max(LEADERS, count))
    while len(found) < count:
        wanted = min(count - len(found), threads)
        trials = [ranking[place] for place in itertools.islice(places, wanted)]
        if found:
            trials = [t for t in trials if budget.needs_fully(t.number) < budget.left]
        if not trials:
            break
        trained = side_by_side(train, trials, threads)
        found += [(t, net) for t, net in zip(trials, trained, strict=True) if net is not None]
    if not found:
        raise TrainingError(f"the final model cannot be trained: {reasons[0]}")
    return found


Item = TypeVar("Item")
Made = TypeVar("Made")


def side_by_side(
    function: Callable[[Item, Callable[[], bool]], Made], items: Sequence[Item], threads: int
) -> list[Made]:
    """The function of each item, in threads. Its second argument says whether to stop: Ctrl-C
    reaches this thread alone, which then has the others end."""
    if len(items) == 1:
        return [function(items[0], lambda: False)]
    stop = threading.Event()
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        try:
            return list(pool.map(lambda item: function(item, stop.is_set), items))
        except BaseException:
            stop.set()
            raise


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
    # Copies, as trainers may share a layer, or a whole model, whose values differ in each.
    model = Average([copy.deepcopy(trainer.model) for trainer in trainers], first.loss)
    whole = Trainer(**(first.fields() | {"model": model}))
    for i, trainer in enumerate(trainers):
        whole.set_weights(
            {f"members.{i}.{path}": value for path, value in trainer.weights().items()}
        )
    whole.session.steps_done = first.session.steps_done
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

        def measure(trial: Trial, stop: Callable[[], bool], split: int = split) -> Score:
            return known.get((trial.number, split)) or _measured(trial, objective, split, stop)

        scores = side_by_side(measure, leaders, threads)
        for trial, score in zip(leaders, scores, strict=True):
            totals[trial.number] += score.cost
            values = {"score": objective.natural(score.cost), "loss": score.loss}
            study.write([("splits", {"trial": trial.number, "split": split, **values})])
    return sorted(leaders, key=lambda trial: totals[trial.number])


def _measured(trial: Trial, objective: Objective, split: int, stop: Callable[[], bool]) -> Score:
    try:
        with unheard():
            trainer = objective.trainer(trial.settings)
            trainer.use_threads(1)
            if objective.train(trainer, trial.settings, objective.epochs, split, stop):
                return objective.score(trainer, split)
    except ChainruleError:  # as in a trial
        pass
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
