"""The loop over epochs, until the last one or until somebody ends it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..advice import advise
from ..errors import TrainingError
from ..graph.tensor import Array
from .data import Part
from .early_stopping import VALIDATION, BestSoFar
from .history import History
from .interrupt import Interrupt
from .session import Chunk, Clock, Diverged, Pace, ScheduleError, Session

Row = dict[str, float]

KEPT = "the model keeps what it learned"


@dataclass(frozen=True)
class Progress:
    """Where training is, told a few times a second; epochs and steps count from 1.

    Of short epochs, not each is told of.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    rows_a_second: float
    loss: float

    @classmethod
    def of(cls, clock: Clock, chunk: Chunk) -> Progress:
        """Where training is after a chunk of it."""
        return cls(
            clock.epoch + chunk.epochs, clock.epochs, chunk.step, chunk.steps, chunk.rows_a_second,
            float(chunk.losses[-1]),
        )  # fmt: skip


def both(
    first: Callable[[Progress], Any], second: Callable[[Progress], Any]
) -> Callable[[Progress], None]:
    """Tell two functions of progress."""

    def tell(progress: Progress) -> None:
        first(progress)
        second(progress)

    return tell


class Asked:
    """Whether training is to end: a signal came, or the user's function says so."""

    def __init__(self, stop: Callable[[], bool] | None) -> None:
        self.interrupt = Interrupt()
        self._stop, self._word = stop, ""

    def __call__(self) -> str:
        """The word for it, or nothing. Once said, it is not taken back."""
        if self.interrupt.asked:
            self._word = "interrupted"
        elif not self._word and self._stop is not None and self._stop():
            self._word = "stopped"
        return self._word


@dataclass(eq=False)
class Loop:
    """Trains a session on the rows of `data`, and writes a row an epoch into the history."""

    session: Session
    history: History
    data: Part
    batch_size: int
    shuffle: bool
    validation: Part | None
    best: BestSoFar | None
    callbacks: Sequence[Callable[[Row], Any]]
    progress: Callable[[Progress], Any] | None
    asked: Asked

    def run(self, last_epoch: int, horizon: int) -> None:
        """Train until that epoch; schedules are laid out over `horizon` epochs.

        However it ends, the best state is restored where somebody asked for it.
        """
        self.history.stopped, self.history.interrupted = "", False
        self._check_monitor()
        try:
            with self.asked.interrupt:
                self._consider_start()
                self._epochs(last_epoch, horizon)
            self.history.interrupted = self.asked.interrupt.asked
        except Diverged as error:
            raise self._told(error) from None
        finally:
            if self.best is not None and self.best.snapshot is not None:
                self.session.restore(self.best.snapshot)
        if self.best is not None and self.best.snapshot is not None and self.asked():
            self.history.stopped = self.history.stopped.replace(
                KEPT, f"the weights of epoch {self.best.epoch}, the best one, are restored"
            )
        nothing = self.best is not None and self.best.snapshot is None and self.history.epochs
        if nothing and not self.asked():
            advise(str(self.best))

    def _check_monitor(self) -> None:
        names = ["loss", *(metric.name for metric in self.session.recipe.metrics)]
        if self.validation is not None:
            names += [f"{VALIDATION}{name}" for name in names]
        if self.best is not None:
            self.best.stopping.value(dict.fromkeys(names, 0.0))

    def _consider_start(self) -> None:
        """A model that was trained before may be better than all that comes."""
        if self.best is None or self.validation is None or not self.history.epochs:
            return
        scores = self.session.scores(self.validation)
        row = {f"{VALIDATION}{name}": value for name, value in scores.items()}
        if self.best.stopping.monitor in row:
            self.best.consider(row, self.history.epochs, self.session)

    def _told(self, error: Diverged) -> TrainingError:
        epochs = self.history.epochs
        kept = f"at the end of epoch {epochs}" if epochs else "before training"
        if self.best is not None and self.best.snapshot is not None:
            kept = f"at the end of epoch {self.best.epoch}, the best one"
        told = TrainingError(f"{error}. The weights are as they were {kept}")
        told.history = self.history
        return told

    def _epochs(self, last_epoch: int, horizon: int) -> None:
        history, at_once = self.history, not self._is_watched
        steps = -(-len(self.data.X) // self.batch_size)
        pace = Pace(steps * self.session.slowest_step(self.batch_size))
        while history.epochs < last_epoch and not history.stopped:
            clock = Clock(history.epochs, horizon)
            count = min(pace.most, last_epoch - history.epochs) if at_once else 1
            began = time.perf_counter()
            with self._together():
                if count == 1:
                    self._one(clock)
                else:
                    at_once = self._several(clock, count)
            pace.took(count, time.perf_counter() - began)

    @contextlib.contextmanager
    def _together(self) -> Iterator[None]:
        """An error leaves the state as it was at the end of the last epoch in the history."""
        good, epochs = self.session.snapshot(), self.history.epochs
        try:
            yield
        except BaseException:
            if self.history.epochs == epochs:
                self.session.restore(good)
            raise

    @property
    def _is_watched(self) -> bool:
        """Whether somebody looks at the model after each epoch."""
        return bool(self.validation or self.best or self.callbacks)

    def _one(self, clock: Clock) -> None:
        """An epoch, and its row of the history, unless it is ended before its last step."""
        began = time.perf_counter()
        parts = []
        for chunk in self.session.train(self.data, self._orders(clock, 1), self.batch_size, clock):
            parts.append(chunk.outputs)
            if self.progress is not None:
                self.progress(Progress.of(clock, chunk))
            if chunk.step < chunk.steps and (word := self.asked()):
                self.history.stopped = (
                    f"{word} in epoch {clock.epoch + 1} after {chunk.step} of "
                    f"{chunk.steps} steps; {KEPT}"
                )
                return
        (row,) = self.session.means(parts)
        if self.validation is not None:
            scores = self.session.scores(self.validation, lambda: bool(self.asked()))
            names = ("loss", *(metric.name for metric in self.session.recipe.metrics))
            row |= {f"{VALIDATION}{name}": scores.get(name, math.nan) for name in names}
        self.history.extend([row | {"seconds": time.perf_counter() - began}])
        self.history.stopped = self._end(row)

    def _several(self, clock: Clock, count: int) -> bool:
        """Train `count` epochs in one run. Where one fails, False: the caller repeats them one by
        one, up to the last good one."""
        began = time.perf_counter()
        orders = self._orders(clock, count)
        try:
            (chunk,) = self.session.train(self.data, orders, self.batch_size, clock)
        except (Diverged, ScheduleError):  # it is raised again, after the good epochs
            return False
        rows = self.session.means([chunk.outputs], count)
        seconds = (time.perf_counter() - began) / count
        self.history.extend([row | {"seconds": seconds} for row in rows])
        if self.progress is not None:
            self.progress(Progress.of(clock, chunk))
        self.history.stopped = self._end(rows[-1])
        return True

    def _orders(self, clock: Clock, count: int) -> Array:
        """The orders of so many epochs, one a row."""
        rows, epochs = len(self.data.X), range(clock.epoch, clock.epoch + count)
        if not self.shuffle:
            return np.tile(np.arange(rows), (count, 1))
        return self.session.engine.orders(rows, self.session.seed, epochs)

    def _end(self, row: Row) -> str:
        """Why training ends after this epoch; empty if it does not."""
        best, epochs = self.best, self.history.epochs
        if best is not None:
            best.consider(row, epochs, self.session)
        ended = [_is_true(callback(row)) for callback in self.callbacks]
        if word := self.asked():
            return f"{word} after epoch {epochs}; {KEPT}"
        if best is not None and best.is_over(epochs):
            return str(best)
        return "a callback ended it" if any(ended) else ""


def _is_true(answer: Any) -> bool:
    """Whether a callback ends training: by True, and by nothing else that Python takes for true."""
    if answer is not None and not isinstance(answer, bool | np.bool_):
        advise(
            f"a callback returned a value of type {type(answer).__name__}, which ends nothing: "
            "return True to end training, else None"
        )
        return False
    return bool(answer)
