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


def hold_out(
    rows: Split, fraction: float, seed: int, *, classes: bool = True
) -> tuple[Split, Split]:
    """Two parts of the rows, the second with that fraction of them, drawn from `seed`.

    Each class is shared out between both parts in proportion, and a class of a single row stays in
    the first part. `classes=False` says that y are numbers to predict: they are shared out by value
    only if each value has two rows or more, as a number met once, often the largest, must be
    validated too. Floats are such numbers always. Rows are drawn regardless of y where y has more
    than one axis, and where a part has too few rows.

    Draws are equal to scikit-learn's `train_test_split`, which takes 0.8 s to import: as long as a
    search of a small table.
    """
    held = rows_held_out(len(rows.y), fraction)
    kept = len(rows.y) - held
    if held <= 0 or kept <= 0:
        raise InputError(
            f"a share of {fraction} of {len(rows.y)} rows is {held}: expected a row or more on "
            "either side"
        )
    random = np.random.RandomState(seed)
    _, number, counts = np.unique(rows.y, return_inverse=True, return_counts=True)
    are_classes = classes and rows.y.dtype.kind != "f"
    if rows.y.ndim == 1 and _can_share_out(counts, kept, held, are_classes):
        groups = np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1])
        first, second = _of_each_class(groups, kept, held, random)
    else:
        second, first = np.split(random.permutation(len(rows.y)), [held])
    return Split(rows.X[first], rows.y[first]), Split(rows.X[second], rows.y[second])


def _can_share_out(counts: Array, kept: int, held: int, are_classes: bool) -> bool:
    """Whether rows are enough to share out each value of y that so many rows have."""
    single = np.count_nonzero(counts == 1)
    if are_classes:  # The first part has a row of each class; the second one may have fewer rows.
        return bool(single < len(counts) <= kept)
    return single == 0 and len(counts) <= min(kept, held)


def _of_each_class(
    groups: list[Array], kept: int, held: int, random: np.random.RandomState
) -> tuple[Array, Array]:
    """The rows of both parts, by the rows of each class.

    scikit-learn shares out the remaining rows too, though their shares are known, and shuffles all
    at the end. Where a share is not whole by rounding, that takes draws.
    """
    single = [group for group in groups if len(group) == 1]
    shared = [group for group in groups if len(group) > 1]
    counts = np.array([len(group) for group in shared])
    first = _shares(counts, kept - len(single), random)
    second = _shares(counts - first, held, random)
    drawn = [group[random.permutation(len(group))] for group in shared]
    kept_rows = [group[:n] for group, n in zip(drawn, first, strict=True)]
    held_rows = [group[n : n + m] for group, n, m in zip(drawn, first, second, strict=True)]
    return (
        random.permutation(np.concatenate(kept_rows + single)),
        random.permutation(np.concatenate(held_rows)),
    )


def _shares(counts: Array, total: int, random: np.random.RandomState) -> Array:
    """Split `total` among classes by the largest-remainder method; ties are broken at random."""
    exact = counts / counts.sum() * total
    shares: Array = np.floor(exact)
    rest = exact - shares
    missing = int(total - shares.sum())
    for largest in np.unique(rest)[::-1]:
        if missing <= 0:
            break
        (equal,) = np.where(rest == largest)
        chosen = random.choice(equal, size=min(len(equal), missing), replace=False)
        shares[chosen] += 1
        missing -= len(chosen)
    return shares.astype(np.int64)
