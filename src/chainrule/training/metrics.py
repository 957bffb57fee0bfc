"""Metrics: what people read beside the loss. Each is a mean over rows, and a function of it."""

import math
from typing import ClassVar

from ..graph import ops
from ..graph.tensor import Tensor
from ..nn.losses import Target
from ..spec import Spec


class Metric(Spec):
    """Base of all metrics: a weighted mean over the rows, and what is made of it."""

    is_base = True

    name: ClassVar[str]
    targets: ClassVar[tuple[Target, ...]] = ("real", "binary")
    """The kinds of targets that it makes sense for."""
    larger_is_better: ClassVar[bool] = False

    def rows(self, Y: Tensor, T: Tensor, target: Target) -> Tensor:
        """What to average, [N], for predictions Y and targets T of that kind."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes")

    def finish(self, mean: float) -> float:
        """The metric, from the mean."""
        return mean


class Accuracy(Metric):
    """The share of rows whose largest score is the target's class; or of labels said rightly,
    where they are yes or no (a score above 0 is a yes)."""

    name = "accuracy"
    targets = ("class", "binary")
    larger_is_better = True

    def rows(self, Y: Tensor, T: Tensor, target: Target) -> Tensor:
        if target == "binary":
            return ops.where(ops.equal(Y > 0.0, T > 0.5), 1.0, 0.0).mean(axis=1)
        truth = T if T.dtype == "int" else ops.argmax(T, axis=1)
        return ops.where(ops.equal(ops.argmax(Y, axis=1), truth), 1.0, 0.0)


class RMSE(Metric):
    """√ mean (y − t)², in the target's unit, as long as the trainer's precision holds the squares:
    in float32 for errors from 1e-19 to 1e19."""

    name = "rmse"

    def rows(self, Y: Tensor, T: Tensor, target: Target) -> Tensor:
        return ((Y - T) * (Y - T)).mean(axis=1)

    def finish(self, mean: float) -> float:
        return math.sqrt(mean)


class MAE(Metric):
    """mean |y − t|, in the target's unit."""

    name = "mae"

    def rows(self, Y: Tensor, T: Tensor, target: Target) -> Tensor:
        return ops.absolute(Y - T).mean(axis=1)


METRICS = {metric.name: metric() for metric in (Accuracy, RMSE, MAE)}
"""The metrics by the names that `metrics=` takes."""


def larger_is_better(name: str) -> bool:
    """Whether what is measured under that name, a loss or a metric, is better the larger it is."""
    return name in METRICS and METRICS[name].larger_is_better
