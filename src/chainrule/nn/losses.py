"""Losses: for each row, how wrong a prediction Y is about the target T."""

import functools
from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar, Literal

import numpy as np

from ..errors import InputError
from ..graph import ops
from ..graph.composed import below_maximum, one_hot, softmax
from ..graph.leaves import scalar
from ..graph.tensor import Tensor, constant
from ..limits import Positive, Share
from ..spec import Spec

Target = Literal["class", "binary", "real"]


class Loss(Spec):
    """Base of all losses: the loss of a set of rows is the weighted mean Σ wᵢ·lᵢ / Σ wᵢ.

    `normalize` says by what the gradient of a batch of n rows is divided. "data": weights are
    divided once by their mean over all training rows, and the batch by n, so a heavy row has a
    larger gradient even alone in its batch. "batch": by the weights of the batch, Σ wᵢ, as
    scikit-learn and PyTorch do; in a batch of one row a weight then has no effect.
    """

    is_base = True

    normalize: Literal["data", "batch"] = field(default="data", kw_only=True)

    target: ClassVar[Target] = "real"
    """What targets are: class numbers or probabilities, numbers from 0 to 1, or any numbers."""
    metrics: ClassVar[tuple[str, ...]] = ("rmse",)
    """What is measured beside the loss unless the trainer is told otherwise."""

    def rows(self, Y: Tensor, T: Tensor) -> Tensor:
        """The loss of each row, [N], from predictions Y [N, K] and targets T."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes")

    def row_weights(self, Y: Tensor, T: Tensor) -> Tensor | None:
        """The weight of each row beside its sample weight, [N]; None where all weigh the same."""
        return None

    def probabilities(self, Y: Tensor) -> Tensor:
        """What the predictions say as probabilities."""
        raise InputError(f"probabilities: {self!r} gives the outputs no such meaning")

    def average(self, Ys: Sequence[Tensor]) -> Tensor:
        """One prediction from several: their mean, or what says the mean of their probabilities."""
        return _mean(Ys)


def _mean(values: Sequence[Tensor]) -> Tensor:
    return functools.reduce(ops.add, values) / len(values)


def _log(p: Tensor) -> Tensor:
    return ops.log(ops.maximum(p, TINY))


def _class_weights(weights: Sequence[float], classes: int | None) -> tuple[float, ...]:
    """The weights of classes, checked: none below 0, some above it, and as many as classes."""
    try:
        array = np.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or not array.any():
        raise InputError(
            f"class_weight is {weights!r}, expected a number of 0 or more a class, in a list: "
            "[1, 9]"
        )
    if classes is not None and len(array) != classes:
        raise InputError(f"class_weight has {len(array)} weights, but there are {classes} classes")
    if array.max() > LARGE or array[array > 0].min() < 1 / LARGE:
        raise InputError(
            f"class_weight is {weights!r}, expected 0 or {1 / LARGE:g} to {LARGE:g}: only the "
            "proportions count"
        )
    return tuple(array.tolist())


class SoftmaxCrossEntropy(Loss):
    """−Σₖ tₖ·log softmax(y)ₖ, for scores Y [N, K] and T class numbers [N] or probabilities [N, K].

    Written as log Σ exp(z) − Σ tₖ·zₖ with z = y − max y, so nothing overflows; its gradient is the
    book's softmax(y) − t. `label_smoothing` ε replaces t by (1 − ε)·t + ε/K. `class_weight` weighs
    a row by Σ cₖ·tₖ, and smoothing does not change that.

    >>> import chainrule as cr
    >>> import numpy as np
    >>> y, t = cr.constant([[2.0, 1.0, 0.1]]), cr.constant(np.array([0]))
    >>> cr.nn.SoftmaxCrossEntropy().rows(y, t).numpy().round(4)
    array([0.417])

    Source: "Deep Learning from Scratch", sections 4.2.2 and 5.6.3; Szegedy et al. 2016, section 7.
    """

    label_smoothing: Share = 0.0
    class_weight: Sequence[float] | None = None
    target = "class"
    metrics = ("accuracy",)

    def setup(self) -> None:
        if self.class_weight is not None:
            self.class_weight = _class_weights(self.class_weight, None)
        self.smoothing = scalar(self.label_smoothing, name="label_smoothing")

    def rows(self, Y: Tensor, T: Tensor) -> Tensor:
        t = self._probabilities(Y, T)
        if self.label_smoothing:
            t = (1.0 - self.smoothing) * t + self.smoothing / Y.shape[1]  # type: ignore[operator]
        z = below_maximum(Y)
        return ops.log(ops.exp(z).sum(axis=1)) - (t * z).sum(axis=1)

    def row_weights(self, Y: Tensor, T: Tensor) -> Tensor | None:
        if self.class_weight is None:
            return None
        weights = _class_weights(self.class_weight, Y.shape[1])  # type: ignore[arg-type]
        return (self._probabilities(Y, T) * constant(weights)).sum(axis=1)

    def probabilities(self, Y: Tensor) -> Tensor:
        return softmax(Y)

    def average(self, Ys: Sequence[Tensor]) -> Tensor:
        return _log(_mean([softmax(Y) for Y in Ys]))

    def _probabilities(self, Y: Tensor, T: Tensor) -> Tensor:
        return one_hot(T, Y.shape[1]) if T.dtype == "int" else T  # type: ignore[arg-type]


class SigmoidCrossEntropy(Loss):
    """−t·log σ(y) − (1 − t)·log(1 − σ(y)), mean over columns: for yes or no, or for many labels.

    Y and T are [N, K], T from 0 to 1. Written as t·softplus(−y) + (1 − t)·softplus(y): nothing
    overflows, and a small loss is no difference of large numbers. Its gradient is σ(y) − t.
    `class_weight` = (of the zeros, of the ones).

    >>> import chainrule as cr
    >>> y, t = cr.constant([[0.0], [2.0]]), cr.constant([[1.0], [1.0]])
    >>> cr.nn.SigmoidCrossEntropy().rows(y, t).numpy().round(4)
    array([0.6931, 0.1269])
    """

    class_weight: Sequence[float] | None = None
    target = "binary"
    metrics = ("accuracy",)

    def setup(self) -> None:
        if self.class_weight is not None:
            self.class_weight = _class_weights(self.class_weight, 2)

    def rows(self, Y: Tensor, T: Tensor) -> Tensor:
        elements = T * ops.softplus(-Y) + (1.0 - T) * ops.softplus(Y)
        if self.class_weight is None:
            return elements.mean(axis=1)
        weights = self._weights(T)
        return (weights * elements).sum(axis=1) / ops.maximum(weights.sum(axis=1), TINY)

    def row_weights(self, Y: Tensor, T: Tensor) -> Tensor | None:
        return None if self.class_weight is None else self._weights(T).mean(axis=1)

    def probabilities(self, Y: Tensor) -> Tensor:
        return ops.sigmoid(Y)

    def average(self, Ys: Sequence[Tensor]) -> Tensor:
        # 1 − σ(y) = σ(−y), which is exact where σ(y) is all but 1.
        return _log(_mean([ops.sigmoid(Y) for Y in Ys])) - _log(
            _mean([ops.sigmoid(-Y) for Y in Ys])
        )

    def _weights(self, T: Tensor) -> Tensor:
        zeros, ones = self.class_weight or (1.0, 1.0)
        return (1.0 - T) * zeros + T * ones


LARGE = 1e10
"""The largest class weight: float32 holds the sum of 10⁸ of them, times losses of 10¹⁰."""

TINY = 2.0**-126
"""The smallest normal number of float32. It keeps 0/0 from a batch whose weights are all 0, and 0
from a logarithm."""


class MeanSquaredError(Loss):
    """(y − t)², mean over columns; Y and T are [N, K].

    The book has ½·Σ over the columns; this is the mean, as in the other losses here and elsewhere.

    Source: "Deep Learning from Scratch", section 4.2.1.
    """

    def rows(self, Y: Tensor, T: Tensor) -> Tensor:
        return ((Y - T) * (Y - T)).mean(axis=1)


class MeanAbsoluteError(Loss):
    """|y − t|, mean over columns: aims at the median, and bears outliers."""

    metrics = ("mae",)

    def rows(self, Y: Tensor, T: Tensor) -> Tensor:
        return ops.absolute(Y - T).mean(axis=1)


class Huber(Loss):
    """½·e² where |e| ≤ δ, and δ·(|e| − ½·δ) elsewhere, for e = y − t; mean over columns.

    Source: Huber 1964.
    """

    delta: Positive = 1.0

    def setup(self) -> None:
        self.limit = scalar(self.delta, name="delta")

    def rows(self, Y: Tensor, T: Tensor) -> Tensor:
        error = ops.absolute(Y - T)
        inside = ops.minimum(error, self.limit)
        return (inside * (error - 0.5 * inside)).mean(axis=1)


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": SoftmaxCrossEntropy,
    "binary_cross_entropy": SigmoidCrossEntropy,
    "mse": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
}
"""The losses by the names that `loss=` takes."""
