"""The rows that a run goes through, checked."""

from dataclasses import dataclass
from typing import Any

from ..errors import InputError, ShapeError
from ..graph.tensor import Array
from ..nn.losses import Target
from . import arrays


@dataclass(frozen=True, eq=False)
class Part:
    """Rows with targets and weights: X [rows, features], y [rows] or [rows, columns]."""

    X: Array
    y: Array
    weight: Array | None = None

    @property
    def form(self) -> tuple[int | None, bool]:
        """What a program must know of it: the targets' columns (None: class numbers); weighted?"""
        return None if self.y.ndim == 1 else self.y.shape[1], self.weight is not None


def part(
    X: Array, y: Any, weight: Any, *, target: Target, columns: int, dtype: str, prefix: str = ""
) -> Part:
    """Targets and weights checked against features that are checked already."""
    if len(X) == 0:
        raise InputError(f"{prefix}X has no rows")
    checked = arrays.targets(y, target, columns, dtype, f"{prefix}y")
    if len(checked) != len(X):
        raise ShapeError(f"{prefix}y has {len(checked)} rows, but {prefix}X has {len(X)}")
    if weight is not None:
        weight = arrays.weights(weight, len(X), dtype, f"{prefix}sample_weight")
    return Part(X, checked, weight)
