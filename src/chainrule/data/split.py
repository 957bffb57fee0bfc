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
    """Two parts of the rows, the second with that fraction of each class, drawn from `seed`.

    They are those of scikit-learn's `train_test_split`, which takes 0.8 s to import: as long as a
    search of a small table.
    """
    classes, counts = np.unique(rows.y, return_counts=True, axis=0)
    held = rows_held_out(len(rows.y), fraction)
    kept = len(rows.y) - held
    if held <= 0 or kept <= 0:
        raise InputError(
            f"a share of {fraction} of {len(rows.y)} rows is {held}: expected a row or more on "
            "either side"
        )
    random = np.random.RandomState(seed)
    if rows.y.ndim == 1 and counts.min() >= 2 and min(held, kept) >= len(counts):
        first, second = _of_each_class(np.searchsorted(classes, rows.y), counts, kept, held, random)
    else:
        second, first = np.split(random.permutation(len(rows.y)), [held])
    return Split(rows.X[first], rows.y[first]), Split(rows.X[second], rows.y[second])


def _of_each_class(
    number: Array, counts: Array, kept: int, held: int, random: np.random.RandomState
) -> tuple[Array, Array]:
    """The rows of both parts, by each row's class.

    What remains is shared out too, and the rows are shuffled at the end: scikit-learn draws so, and
    where the shares of what remains are not whole by rounding, they take draws.
    """
    rows = np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1])
    first = _shares(counts, kept, random)
    second = _shares(counts - first, held, random)
    drawn = [own[random.permutation(len(own))] for own in rows]
    kept_rows = [own[:n] for own, n in zip(drawn, first, strict=True)]
    held_rows = [own[n : n + m] for own, n, m in zip(drawn, first, second, strict=True)]
    return (
        random.permutation(np.concatenate(kept_rows)),
        random.permutation(np.concatenate(held_rows)),
    )


def _shares(counts: Array, total: int, random: np.random.RandomState) -> Array:
    """So many in all, of each class in proportion: those with the largest remainders have one more,
    of equal ones some by chance."""
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
