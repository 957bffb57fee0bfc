"""Who trains the trials: this process, or the workers of a cluster."""

from __future__ import annotations

import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal, Protocol

from ..advice import is_ours, unheard
from ..engines.compiled.crew import at_most_processors, processors
from ..training.trainer import Trainer
from .halving import Score
from .objective import Objective
from .space import Settings, WrongSearch

Kind = Literal["threads", "ray"]

LIBRARIES = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib"))
"""Where code lies that is neither ours nor the user's."""


def reason_of(error: BaseException) -> str:
    """An error in one line, with the line of the user's code that led to it."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    lines = [
        f"{Path(frame.f_code.co_filename).name}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _is_users(frame)
    ]
    return f"{text} ({lines[-1]})" if lines else text


def _is_users(frame: FrameType) -> bool:
    file = str(Path(frame.f_code.co_filename).resolve())
    return not is_ours(frame) and not file.startswith(LIBRARIES)


@dataclass(frozen=True)
class Job:
    """Train a trial, from where it stopped, up to an epoch."""

    trial: int
    settings: Settings
    epochs: int


Found = Score | str | None
"""The score of a job, or why it failed; None where it was stopped."""


class Executor(Protocol):
    """Carries out jobs, several threads asking at the same time; keeps what paused trials need."""

    workers: int
    """How many threads may ask."""
    at_once: int
    """How many jobs it likes to be given together."""

    @property
    def worthwhile(self) -> int:
        """How many of the threads should ask, as far as is known by now."""

    def carry_out(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Found]:
        """What came of the jobs; all end soon once `stop` says so."""

    def forget(self, trial: int) -> None:
        """A trial has ended."""

    def close(self) -> None:
        """There will be no more jobs."""


REMEMBERED = 0.9
"""How much the jobs before count, beside a job."""

PATIENCE = 1.0
"""Seconds without a job's end after which all threads work: that is no job of Python alone."""


class Threads:
    """Trains in the threads that ask, one trial to a thread; trainers of paused trials are kept.

    One thread at a time can run Python. Where that takes longer than what engines do without it,
    more threads only get in each other's way: 13-32-1 on 500 rows makes 350 trials a second in one
    thread, and 220 in two.
    """

    at_once = 1

    def __init__(self, objective: Objective, threads: int | None) -> None:
        self.workers = at_most_processors(threads) if threads else processors()
        self._is_asked_for = threads is not None
        self._in_python, self._unlocked = 0.0, 0.0  # seconds of a processor
        self._last_end = time.monotonic()
        self._lock = threading.Lock()
        self._objective = objective
        self._trainers: dict[int, Trainer] = {}

    @property
    def worthwhile(self) -> int:
        """See `Executor`: those that the user wants, or those that Python has time for."""
        waited = time.monotonic() - self._last_end
        if self._is_asked_for or not self._in_python or waited > PATIENCE:
            return self.workers
        return 1 + int(self._unlocked / self._in_python)

    def carry_out(self, jobs: Sequence[Job], stop: Callable[[], bool]) -> list[Found]:
        """See `Executor`."""
        with unheard():
            return [self._train(job, stop) for job in jobs]

    def _train(self, job: Job, stop: Callable[[], bool]) -> Found:
        began, before = time.thread_time(), self._unlocked_by(job.trial)
        try:
            if job.trial not in self._trainers:
                self._trainers[job.trial] = self._objective.trainer(job.settings)
                self._trainers[job.trial].use_threads(1)
            trainer = self._trainers[job.trial]
            came = self._objective.train(trainer, job.settings, job.epochs, stop=stop)
            return self._objective.score(trainer) if came else None
        except WrongSearch:
            raise
        except Exception as error:  # whatever a setting leads to, in training or in `build`
            return reason_of(error)
        finally:
            self._took(time.thread_time() - began, self._unlocked_by(job.trial) - before)

    def _unlocked_by(self, trial: int) -> float:
        trainer = self._trainers.get(trial)
        return 0.0 if trainer is None else trainer.session.engine.unlocked_seconds

    def _took(self, seconds: float, unlocked: float) -> None:
        """A job has ended, after so many seconds of a processor."""
        with self._lock:
            self._unlocked = REMEMBERED * self._unlocked + unlocked
            self._in_python = REMEMBERED * self._in_python + seconds - unlocked
            self._last_end = time.monotonic()

    def forget(self, trial: int) -> None:
        """See `Executor`."""
        self._trainers.pop(trial, None)

    def close(self) -> None:
        """See `Executor`."""
        self._trainers.clear()


def make_executor(kind: Kind, objective: Objective, threads: int | None) -> Executor:
    """The executor of that name."""
    if kind == "threads":
        return Threads(objective, threads)
    from .ray_executor import Ray

    return Ray(objective, threads)
