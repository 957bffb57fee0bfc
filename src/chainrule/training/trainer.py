"""The trainer: epochs over shuffled rows, and what people want around them."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..engines.choose import make_engine
from ..errors import InputError, ShapeError
from ..graph.tensor import Array, Tensor
from ..limits import Count, Positive, Seed, Strength, check
from ..nn.layer import Layer
from ..nn.losses import Loss
from ..optim.decay import Coupled, Decay
from ..optim.optimizers import Optimizer
from ..spec import Spec
from . import arrays, programs
from .data import Part, part
from .early_stopping import BestSoFar, EarlyStopping
from .history import History
from .interrupt import Interrupt
from .loop import Loop, Progress
from .metrics import METRICS
from .recipe import Recipe
from .session import Session


class Interrupted(UserWarning):
    """Ctrl-C ended training; the model keeps what it learned."""


class Trainer(Spec):
    """Trains a model on a loss by an optimizer, and predicts with it.

    `weight_decay` is the book's λ (a number), or an `optim.Coupled` or `optim.Decoupled`;
    `clip_norm` limits the norm of the whole gradient; `metrics` are names ("accuracy", "rmse",
    "mae"), by default the loss's own. The same seed gives the same result, bit for bit.
    `engine="compiled"` runs machine code, "reference" NumPy, an operation at a time; at
    `dtype="float64"` it is always the latter. `threads` is
    how many share a step, by default as many as its work is worth; the result does not depend
    on it. The reference engine has NumPy's threads.

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
    metrics: Sequence[str] | None = None

    def setup(self) -> None:
        for name, kind in (("model", Layer), ("loss", Loss), ("optimizer", Optimizer)):
            if not isinstance(getattr(self, name), kind):
                found = getattr(self, name)
                word = f"an {kind.__name__}" if name == "optimizer" else f"a {kind.__name__}"
                raise InputError(f"Trainer: {name} is {found!r}, expected {word}")
        metrics = self.loss.metrics if self.metrics is None else self.metrics
        fitting = {n: m for n, m in METRICS.items() if self.loss.target in m.targets}
        _expect_known("metrics", metrics, fitting)
        recipe = Recipe(
            self.model,
            self.loss,
            self.optimizer,
            self._decay(),
            self.clip_norm,
            [METRICS[name] for name in metrics],
        )
        self.session = Session(
            recipe, make_engine(self.engine, self.dtype, self.threads), self.seed
        )
        self.history = History()
        self.features: int | None = None  # known from the first data on, like the next
        self.outputs: int | None = None
        self.notes: dict[str, Any] = {}
        """Plain data that is saved with the model: where its rows came from, say."""

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
        validation_data: Sequence[Any] | None = None,
        sample_weight: Any = None,
        shuffle: bool = True,
        early_stopping: EarlyStopping | None = None,
        callbacks: Sequence[Callable[[Trainer, dict[str, float]], Any]] = (),
        progress: Callable[[Progress], Any] | None = None,
        stop: Callable[[], bool] | None = None,
        horizon: int | None = None,
    ) -> History:
        """Train for that many more epochs, and return the history of all epochs so far.

        X is [rows, features]; y is as the loss says: class numbers [rows], numbers [rows], or
        [rows, outputs]. `validation_data` is (X, y) or (X, y, sample_weight). Each of `callbacks`
        is called after an epoch with the trainer and the epoch's row, and ends training by
        returning True. `progress` is called a few times a second; as often `stop` is asked, and
        where it says True training ends between two steps. Schedules are laid out over `horizon`
        epochs, by default up to the last one of this call.

        Ctrl-C ends training between two steps, within a fifth of a second, with a warning. Where
        the loss is not finite any more, the state goes back to the end of the last good epoch:
        `TrainingError`.
        """
        check("fit: epochs", epochs, Count)
        check("fit: batch_size", batch_size, Count)
        check("fit: shuffle", shuffle, bool)
        check("fit: horizon", horizon, Count | None)
        if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
            raise InputError(f"fit: early_stopping is {early_stopping!r}, not an EarlyStopping")
        for call in (*callbacks, *(given for given in (progress, stop) if given is not None)):
            if not callable(call):
                raise InputError(f"fit: {call!r} is no function to call back")
        data = self.part(X, y, sample_weight)
        validation = self._validation(validation_data)
        history = self.history
        history.stopped, history.interrupted = "", False
        last_epoch = history.epochs + epochs
        word = ""  # once said, it is not taken back
        with Interrupt() as interrupt:

            def asked() -> str:
                nonlocal word
                if interrupt.asked:
                    word = "interrupted"
                elif not word and stop is not None and stop():
                    word = "stopped"
                return word

            Loop(
                session=self.session,
                history=history,
                data=data,
                batch_size=batch_size,
                shuffle=shuffle,
                validation=validation,
                best=None if early_stopping is None else BestSoFar(early_stopping),
                callbacks=[functools.partial(callback, self) for callback in callbacks],
                progress=progress,
                asked=asked,
            ).run(last_epoch, horizon or last_epoch)
        if interrupt.asked:
            history.interrupted = True
            warnings.warn(
                history.stopped or "interrupted after the last epoch", Interrupted, stacklevel=2
            )
        return history

    def evaluate(self, X: Any, y: Any = None, sample_weight: Any = None) -> dict[str, float]:
        """The loss and the metrics on data, with the present weights."""
        return self.session.scores(self.part(X, y, sample_weight))

    def predict(self, X: Any) -> Array:
        """The network's outputs, float32, a row a sample; for a class they are scores."""
        return self.session.outputs(self._features(X), _as_they_are).astype(np.float32)

    def probabilities(self, X: Any) -> Array:
        """The outputs as probabilities, float32, where the loss gives them such a meaning."""
        return self.session.outputs(self._features(X), self.loss.probabilities).astype(np.float32)

    def weights(self) -> dict[str, Array]:
        """The present values of all parameters and other state of the model, by path."""
        return {path: self.value(leaf) for path, leaf in self.model.leaves().items()}

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
        """Rows checked once, which `fit` and `evaluate` take in the place of X any number of times;
        so do other trainers, for the same kind of loss and as many outputs.
        """
        if isinstance(X, Part):
            self.expect_features(X.X.shape[1])
            return X
        if y is None:
            raise InputError(f"{prefix}y is missing: the targets of the rows in {prefix}X")
        features = self._features(X, f"{prefix}X")
        assert self.outputs is not None
        return part(
            features,
            y,
            weight,
            target=self.loss.target,
            columns=self.outputs,
            dtype=self.dtype,
            prefix=prefix,
        )

    def _validation(self, data: Sequence[Any] | None) -> Part | None:
        if data is None:
            return None
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise InputError("fit: validation_data is not (X, y) or (X, y, sample_weight)")
        X, y, weight = (*data, None)[:3]
        return self.part(X, y, weight, "validation ")

    def _features(self, X: Any, name: str = "X") -> Array:
        array = arrays.features(X, self.dtype, name)
        self.expect_features(array.shape[1], name)
        return array

    def expect_features(self, features: int, name: str = "X") -> None:
        """Fix the number of features, at the first data; later, raise unless it is the same."""
        if self.features is None:
            self.outputs = programs.output_columns(self.model, features)
            self.features = features
        if features != self.features:
            raise ShapeError(f"{name} has {features} features, expected {self.features}")


def _expect_known(name: str, values: Sequence[str], known: Mapping[str, Any]) -> None:
    fits = isinstance(values, list | tuple) and all(value in tuple(known) for value in values)
    if not fits:
        expected = ", ".join(map(repr, known))
        raise InputError(f"Trainer: {name} is {values!r}, expected some of {expected}")


def _as_they_are(Y: Tensor) -> Tensor:
    return Y
