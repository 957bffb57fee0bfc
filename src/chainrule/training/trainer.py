"""The trainer: epochs over shuffled rows, and what people want around them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from ..engines.choose import make_engine
from ..errors import InputError, ShapeError
from ..graph import shape as shapes
from ..graph.tensor import Array, Tensor
from ..limits import Count, Positive, Seed, Strength, check
from ..nn.layer import Layer
from ..nn.losses import LOSSES, Loss, Target
from ..optim.decay import Coupled, Decay
from ..optim.named import OPTIMIZERS
from ..optim.optimizers import Optimizer
from ..spec import Spec, as_spec
from ..words import shown
from . import arrays, hints, programs
from .data import Part, RowKind, part
from .early_stopping import BestSoFar, EarlyStopping
from .history import History
from .loop import Asked, Loop, Progress, both
from .metrics import METRICS, Metric
from .recipe import Recipe
from .session import Session, Snapshot
from .turn import Turn

MADE = ("session", "history", "features", "outputs", "notes", "_turn")
"""What a trainer makes beside its fields, and a copy makes anew."""


class Interrupted(UserWarning):
    """Ctrl-C ended training; the model keeps what it learned."""


class Trainer(Spec):
    """Trains a model on a loss by an optimizer, and predicts with it.

    `loss` and `optimizer` may be words: "cross_entropy", "binary_cross_entropy", "mse", "mae",
    "huber"; "sgd", "momentum", "adam", …. `weight_decay` is the book's λ (a number), or an
    `optim.Coupled` or `optim.Decoupled`; `clip_norm` limits the norm of the whole gradient;
    `metrics` are names ("accuracy", "rmse", "mae"), by default the loss's own.

    The same seed gives the same result, bit for bit. `engine="compiled"` runs machine code,
    "reference" NumPy, an operation at a time; at `dtype="float64"` it is always the latter.
    `threads` is how many share a step, by default as many as its work is worth; the result does
    not depend on it. The reference engine has NumPy's threads. Trainers can be copied and pickled.

    >>> import chainrule as cr
    >>> from chainrule import nn, optim
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> model = nn.Sequential(nn.Affine(2, 8), nn.Tanh(), nn.Affine(8, 2))
    >>> trainer = cr.Trainer(model, nn.SoftmaxCrossEntropy(), optim.Adam(lr=0.1))
    >>> trainer.fit(X, y, epochs=60, batch_size=4)["accuracy"][-1]
    1.0

    The model itself never changes: the trainer holds the values, see `weights` and `value`.
    """

    model: Layer
    loss: Loss
    optimizer: Optimizer
    weight_decay: Strength | Decay = 0.0
    clip_norm: Positive | None = None
    seed: Seed = 0
    threads: Count | None = None
    engine: Literal["compiled", "reference"] = "compiled"
    dtype: Literal["float32", "float64"] = "float32"
    metrics: Sequence[str] | str | None = None

    _start: ClassVar[Snapshot | None] = None
    """The state to begin with; None: values drawn from `seed`."""

    def setup(self) -> None:
        self.model = as_spec("Trainer: model", self.model, Layer)
        self.loss = as_spec("Trainer: loss", self.loss, Loss, LOSSES)
        self.optimizer = as_spec("Trainer: optimizer", self.optimizer, Optimizer, OPTIMIZERS)
        metrics = self.loss.metrics if self.metrics is None else self.metrics
        recipe = Recipe(
            self.model,
            self.loss,
            self.optimizer,
            self._decay(),
            self.clip_norm,
            _metrics(metrics, self.loss.target),
        )
        engine = make_engine(self.engine, self.dtype, self.threads)
        try:
            self.session = Session(recipe, engine, self.seed, self._start)
        except RecursionError:
            raise InputError(
                "Trainer: the model has layers within layers, deeper than Python can follow: put "
                "them one after the other in an nn.Sequential"
            ) from None
        self._turn = Turn()
        hints.about_model(self.model, self.loss)
        self.history = History()
        self.features: int | None = None  # known from the first data on, like the next
        self.outputs: int | None = None
        self.notes: dict[str, Any] = {}
        """Plain data that is saved with the model: where its rows came from, say."""

    @classmethod
    def restored(
        cls,
        fields: Mapping[str, Any],
        start: Snapshot,
        features: int | None,
        history: History,
        notes: dict[str, Any],
    ) -> Self:
        """A trainer of these fields that goes on from a snapshot; no initial value is drawn."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := fields.keys() - known:
            raise InputError(f"{cls.__name__} has no {min(unknown)!r}")
        trainer = cls.__new__(cls)
        trainer.__dict__ |= {**fields, "_start": start}
        trainer.__post_init__()  # a constructor of the user's may take no fields
        del trainer.__dict__["_start"]
        if features is not None:
            trainer.expect_features(features)
        trainer.history, trainer.notes = history, notes
        return trainer

    def __reduce__(self) -> tuple[Any, ...]:
        """For copy and pickle: the state, without data and machine code."""
        if self._turn.is_anothers:
            raise InputError(
                "copy: another thread trains this trainer: copy it there, in a callback, or when "
                "fit has ended"
            )
        history = History(self.history, self.history.stopped)
        given = self.fields(), self.session.copy(), self.features, history, dict(self.notes)
        own = {name: x for name, x in vars(self).items() if name not in (*self.fields(), *MADE)}
        return type(self).restored, given, own

    def _decay(self) -> Decay:
        own = self.optimizer.own_decay()
        if own is not None and self.weight_decay != 0.0:
            raise InputError(
                f"Trainer: weight_decay is {self.weight_decay!r}, but {self.optimizer!r} "
                "decays the weights itself: give one of the two"
            )
        if isinstance(self.weight_decay, Decay):
            return self.weight_decay
        return own or Coupled(self.weight_decay)

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 100,
        validation_data: Sequence[Any] | Part | None = None,
        sample_weight: Any = None,
        shuffle: bool = True,
        early_stopping: EarlyStopping | None = None,
        callbacks: Sequence[Callable[[Trainer, dict[str, float]], Any]] = (),
        progress: Callable[[Progress], Any] | None = None,
        stop: Callable[[], bool] | None = None,
        horizon: int | None = None,
        verbose: bool = False,
    ) -> History:
        """Train for that many more epochs, and return the history of all epochs so far.

        X is [rows, features]; y is as the loss says: class numbers [rows], numbers [rows], or
        [rows, outputs]. `validation_data` is (X, y) or (X, y, sample_weight). Each of `callbacks`
        is called after an epoch with the trainer and the epoch's row, and ends training by
        returning True. `progress` is called a few times a second; as often `stop` is asked, and
        where it says True training ends between two steps. Schedules are laid out over `horizon`
        epochs, by default up to the last one of this call. `verbose` shows a row an epoch on
        standard error, and on a terminal the time left.

        Ctrl-C ends training between two steps, within a fifth of a second, with a warning. Where
        the loss is not finite any more, the state goes back to the end of the last good epoch:
        `TrainingError`.
        """
        for name, value, limit in (
            ("epochs", epochs, Count), ("batch_size", batch_size, Count),
            ("shuffle", shuffle, bool), ("verbose", verbose, bool),
            ("horizon", horizon, Count | None),
        ):  # fmt: skip
            check(f"fit: {name}", value, limit)
        if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
            raise InputError(f"fit: early_stopping is {early_stopping!r}, not an EarlyStopping")
        if not isinstance(callbacks, Iterable):
            raise InputError(f"fit: callbacks is {shown(callbacks)}, expected a list of functions")
        for call in (*callbacks, *(given for given in (progress, stop) if given is not None)):
            if not callable(call):
                raise InputError(f"fit: {shown(call)} is no function to call back")
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._turn)
            data, validation = self.part(X, y, sample_weight), self._validation(validation_data)
            hints.about_data(self, data, batch_size)
            told = [functools.partial(callback, self) for callback in callbacks]
            if verbose:
                from .epoch_table import EpochTable

                table = stack.enter_context(EpochTable(quiet=False))
                told.append(functools.partial(table.epoch, self))
                progress = table.step if progress is None else both(progress, table.step)
            last_epoch = self.history.epochs + epochs
            loop = Loop(
                session=self.session,
                history=self.history,
                data=data,
                batch_size=batch_size,
                shuffle=shuffle,
                validation=validation,
                best=BestSoFar.by(early_stopping, self.history.epochs),
                callbacks=told,
                progress=progress,
                asked=Asked(stop),
            )
            loop.run(last_epoch, horizon or last_epoch)
        if self.history.interrupted:
            text = self.history.stopped or "interrupted after the last epoch"
            warnings.warn(text, Interrupted, stacklevel=2)
        return self.history

    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None) -> dict[str, float]:
        """The loss and the metrics on data, with the present weights."""
        self._expect_trained("evaluate")
        return self.session.scores(self.part(X, y, sample_weight))

    def predict(self, X: Any) -> Array:
        """The network's outputs in the trainer's `dtype`, a row for each of X; for classes they are
        scores."""
        self._expect_trained("predict")
        return self.session.outputs(self._features(X), _as_they_are).astype(self.dtype)

    def probabilities(self, X: Any) -> Array:
        """The outputs as probabilities, where the loss gives them such a meaning."""
        self._expect_trained("probabilities")
        return self.session.outputs(self._features(X), self.loss.probabilities).astype(self.dtype)

    def initialize(self, X: Any) -> Self:
        """Take the initial values for the model: it may predict, and be saved, without training."""
        self._features(X)
        self.session.is_initial = False
        return self

    def _expect_trained(self, what: str) -> None:
        if self.session.is_initial:
            hints.about_initial_values(what)

    def weights(self) -> dict[str, Array]:
        """The present values of all parameters and other state of the model, by path."""
        return {path: self.value(leaf) for path, leaf in self.model.leaves().items()}

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Set parameters and other state of the model, by path; what is not named stays.

        >>> import chainrule as cr
        >>> from chainrule import nn, optim
        >>> net = cr.Trainer(nn.Affine(2, 1), nn.MeanSquaredError(), optim.SGD())
        >>> net.set_weights({"W": [[1.0], [2.0]]})
        >>> net.predict([[1.0, 1.0]])
        array([[3.]], dtype=float32)
        """
        if not isinstance(weights, Mapping):
            raise InputError(
                f"set_weights: weights is {shown(weights)}, expected a dict of values by path, as "
                "trainer.weights() gives"
            )
        leaves = self.model.leaves()
        values = {}
        for path, value in weights.items():
            if path not in leaves:
                known = ", ".join(leaves)
                raise InputError(f"set_weights: there is no {path!r}, but {known}")
            array, shape = arrays.numbers(value, path), leaves[path].shape
            if array.shape != shape:
                raise ShapeError(
                    f"set_weights: {path} is {shapes.text(array.shape)}, expected "
                    f"{shapes.text(shape)}"
                )
            values[path] = arrays.finite(array, self.dtype, arrays.Name(path))
        for path, array in values.items():
            self.session.write(leaves[path], array)

    def value(self, leaf: Tensor) -> Array:
        """The present value of one of them."""
        return self.session.value(leaf)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all to one safetensors file, from which `chainrule.load` goes on exactly."""
        from .model_file import save

        save(self, path)

    def explain(self) -> str:
        """The training step as a graph, a line a node, and as what the engine makes of it.

        Outputs are marked →, updates of the state ⇒.
        """
        if self.features is None:
            raise InputError("explain: the data decides what a step is: fit or load first")
        program = self.session.last_program("training")
        if program is None:
            raise InputError("explain: there is no training step yet: fit first")
        return self.session.engine.explain(program)

    def use_threads(self, threads: int | None) -> None:
        """From now on share a step among that many threads; the result is the same."""
        check("use_threads: threads", threads, Count | None)
        self.session.engine.use_threads(threads)

    def part(self, X: Any, y: Any, weight: Any = None, prefix: str = "") -> Part:
        """Rows checked once, which `fit` and `evaluate` take in the place of X any number of times.
        Another trainer takes them too, and checks them again if its targets are others.
        """
        if isinstance(X, Part):
            if y is not None or weight is not None:
                given = "y" if y is not None else "sample_weight"
                raise InputError(f"{prefix}{given} is given beside rows that have their own")
            self.expect_features(X.X.shape[1])
            if X.kind == self._kind:
                return X
            X, y, weight = X.X, X.y, X.weight  # another trainer checked them
        if y is None:
            raise InputError(f"{prefix}y is missing: the targets of the rows in {prefix}X")
        matrix, name = self._matrix(X, f"{prefix}X")
        return part(
            matrix,
            y,
            weight,
            name,
            kind=self._kind,
            prefix=prefix,
        )

    @property
    def _kind(self) -> RowKind:
        assert self.outputs is not None
        return RowKind(self.loss.target, self.outputs, self.dtype)

    def _validation(self, data: Sequence[Any] | Part | None) -> Part | None:
        if data is None or isinstance(data, Part):
            return None if data is None else self.part(data, None)
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise InputError("fit: validation_data is not (X, y) or (X, y, sample_weight)")
        X, y, weight = (*data, None)[:3]
        return self.part(X, y, weight, "validation ")

    def _features(self, X: Any) -> Array:
        matrix, name = self._matrix(X)
        return arrays.features(matrix, self.dtype, name)

    def _matrix(self, X: Any, name: str = "X") -> tuple[Array, arrays.Name]:
        """The rows of X, of as many features as the rows before, their values not yet checked."""
        found = arrays.matrix(X, name)
        self.expect_features(found[0].shape[1], name)
        return found

    def expect_features(self, features: int, name: str = "X") -> None:
        """Fix the number of features, at the first data; later, raise unless it is the same."""
        if self.features is None:
            self.outputs = programs.output_columns(self.model, features)
            self.features = features
        if features != self.features:
            raise ShapeError(f"{name} has {features} features, expected {self.features}")


def _metrics(names: Any, target: Target) -> list[Metric]:
    """The metrics of these names, or of the one name."""
    fitting = {name: metric for name, metric in METRICS.items() if target in metric.targets}
    words = (names,) if isinstance(names, str) else names
    if not isinstance(words, list | tuple) or not all(word in tuple(fitting) for word in words):
        expected = ", ".join(map(repr, fitting))
        raise InputError(f"Trainer: metrics is {names!r}, expected some of {expected}")
    return [fitting[word] for word in words]


def _as_they_are(Y: Tensor) -> Tensor:
    return Y
