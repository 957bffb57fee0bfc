"""Trials as tasks on a Ray cluster: the one that is there, or a local one.

A task has all that it needs: where a trial stopped comes as an argument and goes back as a result.
So Ray may run it anywhere, and again if a worker is lost.
"""

from __future__ import annotations

import importlib
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from ..advice import unheard
from ..errors import InputError
from ..training.history import History
from ..training.session import Snapshot
from ..training.trainer import Trainer
from .executors import Found, Job, reason_of
from .objective import Objective
from .space import WrongSearch

State = dict[str, Any]
"""What training goes on from: values by name, steps done, and the history."""

JOBS_A_TASK = 4
"""To send a task takes a millisecond or two, as long as a short trial."""

LOOK = 0.1
"""Seconds between looks at whether to stop."""


class Ray:
    """The rows lie once in the object store; a task carries out a few jobs."""

    at_once = JOBS_A_TASK

    def __init__(self, objective: Objective, workers: int | None) -> None:
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError:
            raise InputError(
                "Search: executor='ray' needs Ray: pip install 'chainrule[ray]'"
            ) from None
        self._ray = ray
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.worthwhile = self.workers
        self._objective = ray.put(objective)
        self._key = uuid.uuid4().hex
        self._task = ray.remote(num_cpus=1, max_retries=-1)(carry_out)
        self._states: dict[int, Any] = {}

    def carry_out(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Found]:
        """See `Executor`."""
        states = [self._states.get(job.trial) for job in jobs]
        task = self._task.remote(self._key, self._objective, list(jobs), states)
        while not self._ray.wait([task], timeout=LOOK)[0]:
            if stop():
                self._ray.cancel(task, force=True)
                return [None] * len(jobs)
        found = self._ray.get(task)
        if isinstance(found, str):
            raise WrongSearch(found)
        for job, (_, state) in zip(jobs, found, strict=True):
            self._states[job.trial] = state
        return [result for result, _ in found]

    def forget(self, trial: int) -> None:
        """See `Executor`."""
        self._states.pop(trial, None)

    def close(self) -> None:
        """See `Executor`."""
        self._states.clear()
        if self._is_ours:
            self._ray.shutdown()


_last: dict[str, Objective] = {}
"""In a worker, which has one thread: the objective of the tasks before, with its rows split."""


def carry_out(
    key: str, objective: Objective, jobs: Sequence[Job], states: Sequence[State | None]
) -> list[tuple[Found, State | None]] | str:
    """In a worker: train each trial from its state on; or what is wrong with the search."""
    if key not in _last:
        _last.clear()
        _last[key] = objective
    try:
        with unheard():
            pairs = zip(jobs, states, strict=True)
            return [_trained(_last[key], job, state) for job, state in pairs]
    except WrongSearch as error:  # raised here, its text would be a traceback in colours
        return str(error)


def _trained(objective: Objective, job: Job, state: State | None) -> tuple[Found, State | None]:
    try:
        trainer = objective.trainer(job.settings)
        trainer.use_threads(1)
        if state is not None:
            _restore(trainer, state)
        objective.train(trainer, job.settings, job.epochs)
        return objective.score(trainer), _state(trainer)
    except WrongSearch:
        raise
    except Exception as error:  # as in a thread
        return reason_of(error), None


def _state(trainer: Trainer) -> State:
    return {
        "values": trainer.session.values(),
        "steps_done": trainer.session.steps_done,
        "history": dict(trainer.history),
    }


def _restore(trainer: Trainer, state: State) -> None:
    trainer.session.restore(Snapshot(state["values"], state["steps_done"]))
    trainer.history = History(state["history"])
