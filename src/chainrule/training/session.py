"""A session: one model's state in an engine, and the programs that train, evaluate and predict."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines.program import Engine, Feed, Outputs, Program
from ..errors import InputError, TrainingError
from ..graph import shape as shapes
from ..graph.tensor import Array, Tensor
from ..nn.initial import drawn_values
from ..nn.losses import TINY
from ..spec import DEEPEST, Spec
from . import programs
from .data import Part
from .recipe import Recipe, shared

SECONDS_BETWEEN_LOOKS = 0.1
"""How often a run returns to Python, for Ctrl-C and progress."""

ROWS_AT_ONCE = 1024
"""Evaluation and prediction go through the rows in batches of this size."""


LARGE_INPUT = 1e3
"""Inputs above it are named where training diverges."""

SLOWEST_STEP, SLOWEST = 1e-3, 1e9
"""Before there is anything to go by: seconds a step, and operations a second."""


class Pace:
    """How many of something are done at one go: about as many as take `SECONDS_BETWEEN_LOOKS`."""

    def __init__(self, seconds: float) -> None:
        """Each takes so long, until more is known."""
        self.most = max(1, int(SECONDS_BETWEEN_LOOKS / seconds))

    def took(self, count: int, seconds: float) -> None:
        """Learn from so many; it is kept, as a look costs as much as some small steps do."""
        affordable = count * SECONDS_BETWEEN_LOOKS / seconds
        self.most = max(1, int(min(16 * self.most, affordable)))


@dataclass(frozen=True)
class Clock:
    """Where training is: the epoch under way, from 0, and how many there will be when it ends."""

    epoch: int
    epochs: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """Steps that were run at one go, of one epoch or of several whole ones, and what came out.

    `step` of `steps` are done of the last one.
    """

    step: int
    steps: int
    epochs: int
    outputs: Outputs
    rows_a_second: float

    @property
    def losses(self) -> Array:
        """The mean loss of each step."""
        return self.outputs["loss"] / np.maximum(self.outputs["weight"], TINY)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """State at the end of a step, by name: see `Session.state`."""

    values: Mapping[str, Array]
    steps_done: int
    is_initial: bool = False
    """See `Session.is_initial`."""


class ScheduleError(InputError):
    """A schedule fails, or its value is out of range."""


class Diverged(TrainingError):
    """The loss or some state is not finite; the state is as before the run."""


class Session:
    """Holds the state in an engine's memory, and runs the recipe's programs over data."""

    def __init__(
        self, recipe: Recipe, engine: Engine, seed: int, start: Snapshot | None = None
    ) -> None:
        """Begin with the state of `start`, or with values drawn from `seed`."""
        self.engine, self.seed, self.steps_done = engine, seed, 0
        found = shared(recipe)
        self.recipe, self._leaf_of, self._given = found.recipe, found.leaves, found.given
        self._specs_of_ours = found.parts
        self._paces: dict[tuple[str, int], Pace] = {}
        self._last_programs: dict[str, Program] = {}
        self._predictions: dict[Any, tuple[programs.Inputs, Program]] = {}
        self._last: Snapshot | None = None
        self._loss_scales: weakref.WeakKeyDictionary[Part, float] = weakref.WeakKeyDictionary()
        self.is_initial = True
        """Whether the state is drawn from the seed, neither trained nor accepted."""
        self._last_loss: float | None = None
        """The last finite loss of a step."""
        if start is not None:
            _expect_state(self.state(), start.values)
            self.restore(start)
            return
        try:
            for leaf, value in drawn_values(recipe.model, seed):
                engine.write(self._leaf_of[leaf], value)
            for slot in self.recipe.slot_leaves:
                engine.write(slot, slot.attrs["initial"])
        except MemoryError:
            count = recipe.model.parameter_count
            raise InputError(
                f"there is not enough memory for {count:,} parameters: take smaller widths"
            ) from None

    @property
    def is_plain(self) -> bool:
        """Whether a file can hold it for sure: few parts, all of this library's classes, and no
        number that follows a plain function."""
        functions = (x for x in self._given.values() if callable(x) and not isinstance(x, Spec))
        return (
            self._specs_of_ours is not None and self._specs_of_ours < DEEPEST and not any(functions)
        )

    def value(self, leaf: Tensor) -> Array:
        """The present value of a leaf of the model that the session was made for."""
        return self.engine.read(self._leaf_of[leaf])

    def write(self, leaf: Tensor, value: Array) -> None:
        """Set the value of a leaf of the model."""
        self.engine.write(self._leaf_of[leaf], value)
        self._last, self.is_initial = None, False

    def state(self) -> dict[str, Tensor]:
        """The leaves of all state by name, as the engine has them: the model's, then the
        optimizer's slots."""
        return self.recipe.state

    def values(self) -> dict[str, Array]:
        """A copy of all state by name."""
        return {name: self.engine.read(leaf) for name, leaf in self.state().items()}

    def snapshot(self) -> Snapshot:
        """A copy of the state, to come back to; the last one where no step was made since."""
        if self._last is None or self._last.steps_done != self.steps_done:
            self._last = self.copy()
        return self._last

    def copy(self) -> Snapshot:
        """A copy of the state."""
        return Snapshot(self.values(), self.steps_done, self.is_initial)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the state of a snapshot, of this session or of another."""
        for name, value in snapshot.values.items():
            self.engine.write(self.state()[name], value)
        self.steps_done, self.is_initial = snapshot.steps_done, snapshot.is_initial
        self._last = None

    def slowest_step(self, batch_size: int) -> float:
        """About how many seconds a step may take, on any computer and in any engine."""
        return SLOWEST_STEP + self.recipe.work_a_row * batch_size / SLOWEST

    def train(self, data: Part, orders: Array, batch_size: int, clock: Clock) -> Iterator[Chunk]:
        """Train one epoch in chunks of steps, or several in one run. `orders` [epochs, rows] is the
        order of the rows in each epoch.

        Where the loss or the state is not finite, the state is as before the first of them:
        `Diverged`. So it is after any other error.
        """
        good, self._last, self.is_initial = self.snapshot(), None, False
        try:
            yield from self._steps(data, orders, batch_size, clock)
        except GeneratorExit:  # nobody asks for more steps
            raise
        except BaseException:
            self.restore(good)
            raise

    def _steps(self, data: Part, orders: Array, batch_size: int, clock: Clock) -> Iterator[Chunk]:
        given, program = self.program("training", data)
        pace, (epochs, in_order) = self._pace("training", batch_size), orders.shape
        order, in_epoch = orders.reshape(-1), -(-in_order // batch_size)
        steps, step = epochs * in_epoch, 0
        scale = self._loss_scale(data) if given.loss_scale in program.scalars else 1.0
        while step < steps:
            start = step * batch_size
            count = steps if epochs > 1 else _at_once(pace, len(order) - start, batch_size)
            rows = order[start : start + count * batch_size]
            scalars = self._scalars(given, program, clock, step + np.arange(count), in_epoch)
            scalars[given.loss_scale] = scale
            feed = Feed(programs.columns(given, data), batch_size, rows, scalars, epochs)
            began = time.perf_counter()
            outputs = self.engine.run(program, feed)
            seconds = max(time.perf_counter() - began, 1e-9)
            done = len(outputs["loss"])
            pace.took(max(done, 1), seconds)
            step += done
            self.steps_done += done
            at = in_epoch if epochs > 1 else step
            chunk = Chunk(at, in_epoch, epochs, outputs, len(rows) / seconds)
            self._last_loss = float(chunk.losses[-1]) if done else self._last_loss
            reason = "the loss is not finite" if done < count else ""
            # A gradient that is not finite in the last step, a variance or a slot that overflows,
            # show in no loss.
            reason = reason or (self._not_finite() if step == steps else "")
            if reason:
                raise self._diverged(data, clock, min(step + 1, steps), reason)
            yield chunk

    def _not_finite(self) -> str:
        """The first state that is not finite, and its place; empty if all is."""
        for name, leaf in self.state().items():
            if not self.engine.is_finite(leaf):
                value = self.engine.read(leaf)
                place = np.argwhere(~np.isfinite(value))[0].tolist()
                return f"{name.removeprefix('model.')}{place or ''} is {value[tuple(place)]}"
        return ""

    def _diverged(self, data: Part, clock: Clock, step: int, reason: str) -> Diverged:
        last = (
            "no loss was finite"
            if self._last_loss is None
            else f"the last finite loss was {self._last_loss:.6g}"
        )
        place = np.unravel_index(np.argmax(np.abs(data.X)), data.X.shape)
        largest = f"; {data.name.at(place)} is the largest, {data.X[place]:.6g}"
        return Diverged(
            f"training diverged in epoch {clock.epoch + 1} at step {step}: {reason}; {last}"
            f"{largest if abs(data.X[place]) > LARGE_INPUT else ''}. "
            "Try a smaller rate, clip_norm, or inputs of smaller scale"
        )

    def _pace(self, kind: str, batch_size: int) -> Pace:
        if (kind, batch_size) not in self._paces:
            self._paces[kind, batch_size] = Pace(self.slowest_step(batch_size))
        return self._paces[kind, batch_size]

    def scores(self, data: Part, stop: Callable[[], bool] = lambda: False) -> dict[str, float]:
        """The loss and the metrics over data; nothing where `stop` says so before the end."""
        given, program = self.program("evaluation", data)
        parts: list[Outputs] = []
        left = -(-len(data.X) // ROWS_AT_ONCE)
        for part in self._parts("evaluation", program, programs.columns(given, data)):
            parts.append(part)
            left -= len(part["loss"])
            if left and stop():
                return {}
        return self.means(parts)[0]

    def _loss_scale(self, data: Part) -> float:
        """1 / the mean weight of the rows in the loss, where classes have weights. Sample weights
        alone have the mean 1 already."""
        if data not in self._loss_scales:
            given, program = self.program("weights", data)
            feed = {leaf: programs.columns(given, data)[leaf] for leaf in program.inputs}
            parts = self._parts("evaluation", program, feed)
            total = sum(float(part["weight"].sum(dtype=np.float64)) for part in parts)
            if total == 0.0:
                raise InputError(
                    "class_weight is 0 for the classes of all rows: nothing is trained"
                )
            self._loss_scales[data] = len(data.X) / total
        return self._loss_scales[data]

    def means(self, parts: Sequence[Outputs], epochs: int = 1) -> list[dict[str, float]]:
        """The mean loss and the metrics of each epoch that is in the parts."""
        of_steps = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        sums = [
            values.reshape(epochs, -1).sum(axis=1, dtype=np.float64).tolist()
            for values in of_steps.values()
        ]
        return [
            self._means(dict(zip(of_steps, of_epoch, strict=True)))
            for of_epoch in zip(*sums, strict=True)
        ]

    def _means(self, sums: dict[str, float]) -> dict[str, float]:
        weight = sums.pop("weight")
        of_metrics = sums.pop("metric weight", weight)
        # Where no row has a weight there is no mean, and no score to stop by.
        loss = sums.pop("loss") / weight if weight else math.nan
        means = {name: total / of_metrics for name, total in sums.items()}
        return {"loss": loss} | {m.name: m.finish(means[m.name]) for m in self.recipe.metrics}

    def outputs(self, X: Array, function: Callable[[Tensor], Tensor]) -> Array:
        """A function of the network's outputs, a row for each row of X."""
        if function not in self._predictions:
            given = programs.inputs(X.shape[1], None, False)
            Y = function(self.recipe.model(given.x))
            self._predictions[function] = given, Program({"prediction": Y}, {})
        given, program = self._predictions[function]
        parts = [part["prediction"] for part in self._parts("prediction", program, {given.x: X})]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _parts(self, kind: str, program: Program, data: dict[Tensor, Array]) -> Iterator[Outputs]:
        """What comes out for all rows, some at a time: so Ctrl-C is answered soon."""
        pace, start = self._pace(kind, ROWS_AT_ONCE), 0
        order = np.arange(Feed(data, ROWS_AT_ONCE).rows)
        scalars = {leaf: self._given[leaf] for leaf in program.scalars if leaf in self._given}
        while start < len(order) or start == 0:
            count = max(1, _at_once(pace, len(order) - start, ROWS_AT_ONCE))
            rows = order[start : start + count * ROWS_AT_ONCE]
            began = time.perf_counter()
            yield self.engine.run(program, Feed(data, ROWS_AT_ONCE, rows, scalars))
            pace.took(count, max(time.perf_counter() - began, 1e-9))
            start += count * ROWS_AT_ONCE

    def program(self, kind: str, data: Part) -> tuple[programs.Inputs, Program]:
        """The program for data of that form, built when it is first needed."""
        key, built = (kind, data.X.shape[1], *data.form), self.recipe.programs
        if key not in built:
            given = programs.inputs(data.X.shape[1], *data.form)
            built.setdefault(key, (given, programs.BUILDERS[kind](self.recipe, given)))
        given, program = built[key]
        self._last_programs[kind] = program
        return given, program

    def last_program(self, kind: str) -> Program | None:
        """The program of a kind that was needed last, to be looked at."""
        return self._last_programs.get(kind)

    def _scalars(
        self, given: programs.Inputs, program: Program, clock: Clock, steps: Array, in_epoch: int
    ) -> dict[Tensor, Any]:
        """The value of each scalar leaf at each of the steps; schedules count time in epochs."""
        since_start = self.steps_done + np.arange(len(steps))
        scalars: dict[Tensor, Any] = {
            given.seed: self.seed,
            given.step: since_start,
            given.t: since_start + 1.0,
        }
        times = (clock.epoch + steps // in_epoch + steps % in_epoch / in_epoch).tolist()
        for leaf in program.scalars:
            if leaf not in scalars:
                value = self._given.get(leaf, leaf.attrs["value"])
                if callable(value):
                    value = scheduled(leaf.name, value, times, clock.epochs)
                scalars[leaf] = value
        return scalars


def _expect_state(state: Mapping[str, Tensor], values: Mapping[str, Array]) -> None:
    """Raise unless there is a value of the right shape for each leaf, and no other.

    It comes before any memory is taken, since a file may describe a layer of any width.
    """
    for name, leaf in state.items():
        if name not in values:
            raise InputError(f"{name} is missing")
        if values[name].shape != leaf.shape:
            found = shapes.text(values[name].shape)
            raise InputError(f"{name} is {found}, expected {shapes.text(leaf.shape)}")
    if unknown := values.keys() - state.keys():
        raise InputError(f"{min(unknown)} is no part of the model")


def _at_once(pace: Pace, left: int, batch_size: int) -> int:
    """How many of the steps for the rows that are left are run at one go.

    A last batch with fewer rows is never run by itself: how an engine cuts a sum into parts may
    depend on the largest batch of a run, and results must not depend on the clock.
    """
    steps = -(-left // batch_size)
    alone = steps == pace.most + 1 and left % batch_size
    return steps if alone else min(pace.most, steps)


def scheduled(
    name: str, schedule: Callable[[float, float], float], times: Sequence[float], epochs: int
) -> Array:
    """The values of a schedule at those times, checked like the number it stands for."""
    try:
        values = np.array([schedule(time, epochs) for time in times], np.float64)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ScheduleError(
            f"{name}: {schedule!r} at epoch {times[0]:g}: {type(error).__name__}: {error}"
        ) from error
    if not (values >= 0).all() or not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values) & (values >= 0)))
        raise ScheduleError(
            f"{name}: {schedule!r} is {values[at]} at epoch {times[at]:g}, not in [0, inf)"
        )
    return values
