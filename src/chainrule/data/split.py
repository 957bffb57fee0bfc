"""Parts of a data set that must not mix."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..graph.tensor import Array


@dataclass(frozen=True, eq=False)
class Split:
    """Rows with their class numbers."""

    X: Array
    y: Array


def rows_held_out(rows: int, fraction: float) -> int:
    """How many of so many rows are held out."""
    return round(rows * fraction)


def hold_out(rows: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Two parts of the rows, the second with that fraction of each class, drawn from `seed`."""
    from sklearn.model_selection import train_test_split

    _, counts = np.unique(rows.y, return_counts=True, axis=0)
    held = rows_held_out(len(rows.y), fraction)
    if not 0 < held < len(rows.y):
        raise InputError(
            f"a share of {fraction} of {len(rows.y)} rows is {held}: expected a row or more on "
            "either side"
        )
    stratified = (
        rows.y.ndim == 1 and counts.min() >= 2 and min(held, len(rows.y) - held) >= len(counts)
    )
    X, X_held, y, y_held = train_test_split(
        rows.X,
        rows.y,
        test_size=held,
        random_state=seed,
        stratify=rows.y if stratified else None,
    )
    return Split(X, y), Split(X_held, y_held)
