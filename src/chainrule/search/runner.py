"""Threads that carry out a plan: each trains a trial to its next rung, then takes another task."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec import to_plain
from .budget import Budget
from .executors import Executor, Job
from .halving import Score
from .objective import Objective
from .plan import Plan, Task
from .recorded import Recorded
from .space import described, number_of_settings
from .study import Json, Study
from .trial import Trial

Change = tuple[str, Mapping[str, Any]]
"""A row of the study, and its table."""

LOOK = 0.1
"""Seconds between looks at the clock, and calls of `progress`."""


@dataclass(frozen=True)
class Progress:
    """How far a search is; `best` is the best score so far, None before there is one."""

    trials: int | None
    done: int
    abandoned: int
    failed: int
    running: int
    best: float | None
    seconds: float
    seconds_left: float | None
    decisions: list[str]
    """How ranges were changed, and why."""
    phase: str = "trials"


class Runner:
    """Carries out a plan; every rung is in the study before anything follows from it."""

    def __init__(
        self,
        plan: Plan,
        objective: Objective,
        executor: Executor,
        study: Study,
        known: Recorded,
        budget: Budget,
    ) -> None:
        self.plan, self.objective, self.executor = plan, objective, executor
        self.study, self.known, self.budget = study, known, budget
        self.began = time.monotonic()
        self._changed = threading.Condition()
        self._rounds = 0
        self._is_exhausted = False
        self._decisions: list[str] = []
        self._busy = 0
        self._stopped = False
        self._ending = "the time was up"
        """Why trials end that have not come to their last rung."""
        self._waiting: list[Task] = []
        """Tasks of trials that the study has, and which it has no score for."""
        self._error: BaseException | None = None

    def replay(self) -> None:
        """Do what the study tells, whatever the clock says: the best of all its trials counts."""
        last = max(self.known.settings, default=-1)
        while True:
            task = self.plan.next(last=last) if last >= 0 else None
            self._write_rounds()
            if task is None:
                return
            self.known.check(self.plan.trials[task.trial])
            if task in self.known.found:
                self._report(task, self.known.found[task])
            else:
                self._waiting.append(task)

    def run(
        self,
        progress: Callable[[Progress], object] | None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train trials until the plan has ended, the time is up, or `stop` says so."""
        workers = [
            threading.Thread(target=self._work, args=(i,), name=f"chainrule-trial-{i}", daemon=True)
            for i in range(self.executor.workers)
        ]
        for worker in workers:
            worker.start()
        try:
            while alive := [worker for worker in workers if worker.is_alive()]:
                alive[0].join(LOOK)  # to wake at each report would hold up the trials
                with self._changed:
                    if self.is_late:
                        self._changed.notify_all()
                    seen = self.progress()
                if progress is not None:
                    progress(seen)
                if stop():
                    self.stop()
        except BaseException:
            self._stopped = True
            raise
        finally:
            with self._changed:
                self._changed.notify_all()
            for worker in workers:
                worker.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Somebody wants no more trials."""
        self._stopped, self._ending = True, "the search was stopped"

    def end(self) -> None:
        """End the trials that have not ended."""
        unfinished = self.plan.end(self._ending)
        self.study.write([("trials", row_of(trial)) for trial in unfinished])

    @property
    def is_late(self) -> bool:
        """Whether the time is up; without any score the search goes on until it has one."""
        leader = self.plan.leader
        return leader is not None and self.budget.left_for_trials(leader.number) < 0.0

    @property
    def _is_over(self) -> bool:
        return self.plan.ended or self._ends()

    def _ends(self) -> bool:
        return self._stopped or self._error is not None or self.is_late

    def _work(self, number: int) -> None:
        """One thread; an error that is no trial's own ends all, and `run` raises it."""
        try:
            while True:
                while number >= self.executor.worthwhile and not self._is_over:
                    time.sleep(LOOK)
                with self._changed:
                    tasks = self._next()
                    self._busy += len(tasks)
                if not tasks:
                    return
                began = time.monotonic()
                found = self.executor.carry_out([self._job(task) for task in tasks], self._ends)
                seconds = (time.monotonic() - began) / len(tasks)
                with self._changed:
                    self._busy -= len(tasks)
                    for task, result in zip(tasks, found, strict=True):
                        if isinstance(result, Score):
                            self.budget.took(task.trial, self._epochs(task), seconds)
                        if result is not None:
                            self._report(task, result)
                    self._changed.notify_all()
        except BaseException as error:  # it is raised again, in the thread that waits
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next(self) -> list[Task]:
        """The next tasks; none where there will be none any more."""
        tasks: list[Task] = []
        while not self._ends():
            full = len(tasks) == self.executor.at_once
            task = None if full else self._next_task()
            self._write_rounds()
            if task is not None:
                self.known.check(self.plan.trials[task.trial])
            if task is not None and task in self.known.found:
                self._report(task, self.known.found[task])
                self._changed.notify_all()
            elif task is not None:
                tasks.append(task)
            elif tasks or self.plan.ended:
                return tasks
            elif self._busy:
                self._changed.wait()
            else:  # there is time for nothing that is left
                self._stopped = True
                self._changed.notify_all()
        return []

    def _next_task(self) -> Task | None:
        for task in self._waiting:
            if self._fits(task):
                self._waiting.remove(task)
                return task
        return self.plan.next(self._fits)

    def _fits(self, task: Task) -> bool:
        """Whether there is time for a trial to go on, and for a final model, its own or the
        leader's: else what it does would be for nothing."""
        leader = self.plan.leader
        if leader is None:
            return True
        models = task.trial, leader.number
        left = min(self.budget.left_for_trials(trial) for trial in models)
        return self.budget.needs(task.trial, self._epochs(task)) <= left

    def _is_too_slow(self, task: Task) -> bool:
        """Whether there is no time to train a trial fully, or was none when it came there."""
        if task in self.known.found:
            return self.known.too_slow.get(task.trial) == task.rung
        return 0.0 < self.budget.left < self.budget.at_the_end(task.trial)

    def _epochs(self, task: Task) -> int:
        rungs = [0, *self.plan.rungs]
        return rungs[task.rung + 1] - rungs[task.rung]

    def _job(self, task: Task) -> Job:
        settings = self.plan.trials[task.trial].settings
        return Job(task.trial, settings, self.plan.rungs[task.rung])

    def _report(self, task: Task, found: Score | str) -> None:
        """Write it down, with all that follows from it."""
        if isinstance(found, Score):
            rung = {
                "trial": task.trial,
                "rung": task.rung,
                "epochs": self.plan.rungs[task.rung],
                "score": self.objective.natural(found.cost),
                "loss": found.loss,
                "seconds": time.monotonic() - self.began,
            }
            changes = [] if task in self.known.found else [("rungs", rung)]
            decided = self.plan.report(task, found)
            if self._is_too_slow(task):
                decided += self.plan.give_up(task)
        else:
            changes, decided = [], self.plan.fail(task, found)
        self._write_trials(decided, changes)

    def _write_trials(self, decided: Sequence[Trial], changes: Sequence[Change] = ()) -> None:
        unique = dict.fromkeys(decided)
        if unique or changes:
            self.study.write([*changes, *(("trials", row_of(trial)) for trial in unique)])
        for trial in unique:
            if trial.status != "running":
                self.executor.forget(trial.number)

    def _write_rounds(self) -> None:
        for found in self.plan.rounds[self._rounds :]:
            space = {name: to_plain(parameter) for name, parameter in found.space.items()}
            row = {"number": found.number, "space": Json(space), "reasons": Json(found.reasons)}
            self.study.write([("rounds", row)])
            self._decisions += [
                f"round {found.number + 1}: {name} {described(found.space[name])}: {reason}"
                for name, reason in found.reasons.items()
            ]
        self._rounds = len(self.plan.rounds)
        if self.plan.exhausted and not self._is_exhausted:
            self._is_exhausted = True
            count = len(self.plan.trials)
            all_of_them = number_of_settings(self.plan.rounds[0].space) == count
            self._decisions.append(
                f"all {count} settings of the space have been tried"
                if all_of_them
                else f"after {count} trials no new settings were found"
            )
        self._write_trials(self.plan.unwritten)
        self.plan.unwritten = []

    def progress(self) -> Progress:
        """How far it is."""
        counts, leader = self.plan.counts, self.plan.leader
        seconds = time.monotonic() - self.began
        left = max(0.0, self.budget.left)
        total = self.plan.rules.trials
        ended = sum(counts.values())
        if total is not None and ended:
            left = min(left, seconds * (total - ended) / ended)
        return Progress(
            total,
            counts["done"],
            counts["abandoned"],
            counts["failed"],
            self._busy,
            None if leader is None else self.objective.natural(leader.scores[-1].cost),
            seconds,
            left if left < math.inf else None,
            self._decisions,
        )


def row_of(trial: Trial) -> dict[str, object]:
    """A trial as a row of the study."""
    return {
        "number": trial.number,
        "round": trial.round,
        "settings": Json(dict(trial.settings)),
        "status": trial.status,
        "reason": trial.reason,
    }
