"""What a trial is measured by: the rows it is trained on, and those it is scored on."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from ..advice import unheard
from ..data.split import Split, hold_out, rows_held_out
from ..errors import InputError, TrainingError
from ..nn.losses import Loss
from ..spec import Spec
from ..training import arrays
from ..training.data import Part
from ..training.metrics import larger_is_better
from ..training.trainer import Trainer
from .halving import Score
from .space import Settings, WrongSearch

SEEDS = 1 << 32
"""How many seeds there are for a split."""

Build = Callable[[Settings], Trainer]


@dataclass(eq=False)
class Objective:
    """Data that all trials share, and how one is built, trained and scored on it."""

    build: Build
    rows: Split
    fraction: float
    epochs: int
    batch_size: int
    metric: str
    seed: int
    loss: Loss | None = None
    """That of the first trial."""
    loss_varies: bool = False
    """Whether some trial has another one: then losses of trials are not compared."""
    failure: BaseException | None = None
    """What `build` raised first."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _parts: dict[Any, tuple[Part, Part]] = field(default_factory=dict)
    _splits: dict[int, tuple[Split, Split]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Without its lock, and what is made again where it arrives."""
        fresh = {"_lock", "_parts", "_splits", "failure"}
        return {name: value for name, value in self.__dict__.items() if name not in fresh}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._lock, self._parts, self._splits = threading.Lock(), {}, {}

    def trainer(self, settings: Settings) -> Trainer:
        """A fresh trainer, as the user's function builds it."""
        try:
            trainer = self.build(settings.copy())  # whoever pops one changes no trial
        except Exception as error:
            self.failure = self.failure or error
            raise
        if not isinstance(trainer, Trainer):
            raise InputError(f"build returned {trainer!r}, expected a Trainer")
        if trainer.history.epochs:
            raise InputError(
                f"build returned a trainer that has been trained for {trainer.history.epochs} "
                "epochs, expected a new one each time"
            )
        self._expect_comparable(trainer.loss)
        return trainer

    def accepts(self, settings: Settings) -> bool:
        """Whether `build` makes a trainer of these settings."""
        try:
            with unheard():
                self.build(settings.copy())
        except WrongSearch:
            raise
        except Exception as error:  # whatever it is, a trial would fail by it
            return not self.fails_again(settings, error)
        return True

    def fails_again(self, settings: Settings, error: Exception) -> bool:
        """Whether `build` fails by itself: always True, for it raises an error that does not come
        again, which somebody else, such as a signal's handler, has raised in it."""
        try:
            self.build(settings.copy())
        except Exception as again:
            if type(again) is type(error):
                return True
        raise error

    def train(
        self,
        trainer: Trainer,
        settings: Settings,
        epochs: int,
        split: int = 0,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train until that epoch; whether it came there before `stop` said so."""
        self._fit(trainer, settings, self.parts(trainer, split)[0], epochs, stop)
        return trainer.history.epochs == epochs

    def train_fully(
        self, trainer: Trainer, settings: Settings, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Train on all rows, those of validation too."""
        rows = trainer.part(self.rows.X, self.rows.y)
        self._fit(trainer, settings, rows, self.epochs, stop)
        if trainer.history.epochs < self.epochs:  # `fit` takes Ctrl-C for the end of training
            raise KeyboardInterrupt

    def _fit(
        self,
        trainer: Trainer,
        settings: Settings,
        rows: Part,
        epochs: int,
        stop: Callable[[], bool],
    ) -> None:
        trainer.fit(
            rows,
            epochs=epochs - trainer.history.epochs,
            batch_size=settings.get("batch_size", self.batch_size),
            stop=stop,
            horizon=self.epochs,
        )

    def score(self, trainer: Trainer, split: int = 0) -> Score:
        """How good it is on the rows of validation."""
        scores = trainer.evaluate(self.parts(trainer, split)[1])
        value = scores[self.metric]
        if not math.isfinite(value) or not math.isfinite(scores["loss"]):
            raise TrainingError("the loss on the validation rows is not finite")
        return self.scored(-value if self.larger_is_better else value, scores["loss"])

    def scored(self, cost: float, loss: float) -> Score:
        """A score; its loss breaks ties where all trials have the same one."""
        return Score(cost, 0.0 if self.loss_varies else loss, loss)

    def choose_metric(self, trainers: Sequence[Trainer]) -> None:
        """The score of trials, from the first trainers: unless the user said it, the first of their
        metrics, which no setting changes; without any the loss."""
        metrics = trainers[0].session.recipe.metrics
        known = [*(metric.name for metric in metrics), "loss"]
        self.metric = self.metric or known[0]
        if self.metric not in known:
            raise InputError(f"Search: metric is {self.metric!r}, there is {', '.join(known)}")
        self.loss = trainers[0].loss
        for trainer in trainers:
            self._expect_comparable(trainer.loss)
            self.loss_varies |= as_text(trainer.loss) != as_text(self.loss)

    def _expect_comparable(self, loss: Loss) -> None:
        """Raise if trials are compared by the loss, and this is another one."""
        if self.metric == "loss" and self.loss is not None and as_text(loss) != as_text(self.loss):
            raise WrongSearch(
                f"Search: metric is 'loss', but settings change the loss: it is {self.loss!r} in "
                f"one trial, {loss!r} in another; compare by a metric such as 'accuracy' or 'rmse'"
            )

    @property
    def larger_is_better(self) -> bool:
        """Whether the metric is better the larger it is."""
        return larger_is_better(self.metric)

    def natural(self, cost: float) -> float:
        """A score as people know it: an accuracy, a loss."""
        return -cost if self.larger_is_better else cost

    @property
    def validation_rows(self) -> int:
        """How many rows trials are scored on."""
        return rows_held_out(len(self.rows.y), self.fraction)

    def parts(self, trainer: Trainer, split: int) -> tuple[Part, Part]:
        """The rows to train on and those to score on, checked once for each kind of trainer."""
        with self._lock:
            if split not in self._splits:
                seed = (self.seed + split) % SEEDS
                classes = trainer.loss.target != "real"
                self._splits[split] = hold_out(self.rows, self.fraction, seed, classes=classes)
            train, held = self._splits[split]
            trainer.expect_features(train.X.shape[1])
            key = split, trainer.loss.target, trainer.outputs, trainer.dtype
            if key not in self._parts:
                self._parts[key] = (
                    trainer.part(train.X, train.y),
                    trainer.part(held.X, held.y, prefix="validation "),
                )
            return self._parts[key]


def prepared(X: Any, y: Any) -> Split:
    """Rows as arrays, in the precision in which they come: a trainer converts them to its own."""
    features, _ = arrays.matrix(X)
    targets = arrays.numbers(y, "y")
    if targets.ndim == 2 and targets.shape[1] == 1:
        targets = targets[:, 0]  # class numbers in a column are shared out by class too
    if targets.ndim == 0:
        raise InputError(f"y is {y!r}, expected a target for each row")
    if len(targets) != len(features):
        raise InputError(f"X has {len(features)} rows, but y has {len(targets)}")
    if len(features) < 2:
        raise InputError(
            f"X has {len(features)} rows, expected 2 or more: to train and to validate"
        )
    return Split(features, targets)


def as_text(spec: Spec) -> str:
    """A spec by its class and fields; a function, which has no fields, by its code."""
    return msgspec.json.encode(_plain(spec)).decode()


def _plain(value: Any) -> Any:
    match value:
        case Spec():
            fields = {name: _plain(x) for name, x in value.fields().items()}
            return {"kind": value.kind, **fields}
        case list() | tuple():
            return [_plain(item) for item in value]
        case np.ndarray() | np.generic():
            return value.tolist()
        case None | bool() | int() | float() | str():
            return value
    code = getattr(value, "__code__", None)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return [name] if code is None else [name, code.co_code.hex(), repr(code.co_consts)]


def fingerprint(rows: Split) -> str:
    """The same for the same data, and for no other."""
    digest = hashlib.sha256()
    for array in (rows.X, rows.y):
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]
