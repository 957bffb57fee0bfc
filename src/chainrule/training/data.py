"""The rows that a run goes through, checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, ShapeError
from ..graph.tensor import Array
from ..nn.losses import Target
from . import arrays


class RowKind(NamedTuple):
    """What rows are checked for: the targets, the network's outputs, the precision."""

    target: Target
    outputs: int
    dtype: str


@dataclass(frozen=True, eq=False)
class Part:
    """Rows with targets and weights: X [rows, features], y [rows] or [rows, columns]."""

    X: Array
    y: Array
    weight: Array | None = None
    kind: RowKind | None = None
    name: arrays.Name = field(default_factory=lambda: arrays.Name("X"))
    """How errors call X, its columns and its rows."""

    @property
    def form(self) -> tuple[int | None, bool]:
        """What a program must know of it: the targets' columns (None: class numbers); weighted?"""
        return None if self.y.ndim == 1 else self.y.shape[1], self.weight is not None


def part(
    X: Array,
    y: Any,
    weight: Any,
    name: arrays.Name,
    *,
    kind: RowKind,
    prefix: str = "",
) -> Part:
    """Features, targets and weights, checked. Rows of weight 0 are dropped, whatever is in them."""
    if len(X) == 0:
        raise InputError(f"{prefix}X has no rows")
    columns = arrays.column_names(y)
    y, y_name = arrays.numbers(y, f"{prefix}y"), arrays.Name(f"{prefix}y", columns)
    if y.ndim == 0 or len(y) != len(X):
        found = "one value" if y.ndim == 0 else f"{len(y)} rows"
        raise ShapeError(f"{prefix}y has {found}, but {prefix}X has {len(X)}")
    if weight is not None:
        weight = arrays.weights(weight, len(X), kind.dtype, f"{prefix}sample_weight")
        if not weight.all():
            (kept,) = np.nonzero(weight)
            X, y, weight = X[kept], y[kept], weight[kept]
            name, y_name = replace(name, rows=kept), replace(y_name, rows=kept)
    return Part(
        arrays.features(X, kind.dtype, name),
        arrays.targets(y, kind.target, kind.outputs, kind.dtype, y_name),
        weight,
        kind,
        name,
    )
