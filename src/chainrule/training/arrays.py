"""The arrays of the user, checked; an error names the place of the first misfit."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# NumPy imports it at the first use, in `np.unique` too. A child process waits for ever for a module
# that another thread imported when the parent forked.
from numpy import ma

from ..advice import advise
from ..errors import InputError, ShapeError
from ..graph import shape as shapes
from ..graph.tensor import Array
from ..nn.losses import TINY, Target
from ..words import shown, with_article

ROWS_AT_ONCE = 4096  # checks go through the data in parts, so they need no second copy of it

QUARTILE_ROWS = 256
"""Rows whose quartiles tell how far apart the values of a column lie."""

LOST_VALUES = 0.01
"""The share of a column's values that float32 may merge before a warning names the column."""

LABELS = ": for labels names, y = np.unique(labels, return_inverse=True)"
"""What to do with words in the place of class numbers."""


@dataclass(frozen=True)
class Name:
    """How errors call an array: its name, the names of its columns, the numbers of its rows."""

    text: str
    columns: Sequence[str] | None = None
    rows: Array | None = None

    def at(self, place: tuple[Any, ...]) -> str:
        """The array's name and a place in it."""
        if not place:
            return self.text
        if len(place) > 2:
            axes = ", ".join(f"axis {i} {n}" for i, n in enumerate(place))
            return f"{self.text} at {axes}"
        row, *column = place
        row = row if self.rows is None else self.rows[row]
        return f"{self.text} at row {row}" + "".join(f", {self.column(i)}" for i in column)

    def column(self, i: int) -> str:
        """A column by its number, or by its name in a frame."""
        return f"column {i}" if self.columns is None else f"column {self.columns[i]!r}"


def matrix(X: Any, name: str = "X") -> tuple[Array, Name]:
    """Features as a matrix [rows, features], its values not yet checked, and its name."""
    array = numbers(X, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ShapeError(f"{name} is {shapes.text(array.shape)}, expected [rows, features]")
    return array, Name(name, column_names(X))


def features(array: Array, dtype: str, name: Name) -> Array:
    """Features as finite numbers; bytes stay bytes until a batch is gathered."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)  # once, not at each run
    converted = finite(array, dtype, name)
    if not np.can_cast(array.dtype, dtype):
        _expect_distinct(array, converted, name)
    return converted


def targets(y: Any, kind: Target, columns: int, dtype: str, name: Name) -> Array:
    """Targets for a network with that many outputs: class numbers [rows], or [rows, columns]."""
    if kind == "class" and y.ndim == 2 and y.shape[1] == 1 < columns:
        y = y[:, 0]
    if kind == "class" and y.ndim == 1:
        return _class_numbers(y, columns, name)
    wide = y[:, None] if y.ndim == 1 else y
    if wide.ndim != 2 or wide.shape[1] != columns:
        raise ShapeError(
            f"{name.text} is {shapes.text(y.shape)}, but the network has {columns} outputs: "
            f"expected [rows, {columns}]" + (" or class numbers [rows]" if kind == "class" else "")
        )
    exact, wide = wide, finite(wide, dtype, name)
    if not np.can_cast(exact.dtype, dtype):
        _expect_distinct(exact, wide, name)
    if kind != "real":
        _refuse((wide < 0) | (wide > 1), wide, name, "from 0 to 1")
    if kind == "class":
        sums, whole = wide.sum(axis=1, dtype=np.float64), Name(f"the sum of {name.text}")
        _refuse(np.abs(sums - 1) > 1e-3, sums, whole, "1, as of probabilities")
    return wide


def weights(values: Any, rows: int, dtype: str, name: str) -> Array:
    """Weights of rows: finite, 0 or more, not all 0; divided by their mean, because only their
    proportions count, in float64, where e⁻⁸⁰ is no small number yet."""
    array = numbers(values, name)
    if array.shape != (rows,):
        raise ShapeError(f"{name} is {shapes.text(array.shape)}, expected [{rows}]")
    exact = finite(array, "float64", Name(name))
    _refuse(exact < 0, array, Name(name), "0 or more")
    if not exact.any():
        raise InputError(f"{name} is 0 everywhere")
    largest = exact / exact.max()
    relative = np.asarray(largest / largest[largest >= TINY].mean(), dtype)
    return np.where(relative < TINY, np.asarray(0.0, dtype), relative)


def numbers(values: Any, name: str) -> Array:
    """An array of numbers of any type."""
    array = _as_array(values, name)
    if array.dtype.kind == "O":
        with contextlib.suppress(TypeError, ValueError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "fiub":
        place, value = _first_word(array)
        hint = LABELS if name.endswith("y") and isinstance(value, str) and len(place) == 1 else ""
        raise InputError(
            f"{Name(name, column_names(values)).at(place)} is {shown(value)}, expected "
            f"{'an array of numbers' if place == () else 'a number'}{hint}"
        )
    return array


def column_names(values: Any) -> list[str] | None:
    """The names of a frame's columns."""
    names = getattr(values, "columns", None)
    if names is None or callable(names) or getattr(values, "ndim", 2) != 2:
        return None
    found = [getattr(column, "name", column) for column in names]
    return [str(column) for column in found]


def _as_array(values: Any, name: str) -> Array:
    if isinstance(values, ma.MaskedArray):
        if ma.getmaskarray(values).any():
            place = tuple(np.argwhere(ma.getmaskarray(values))[0])
            raise InputError(f"{Name(name).at(place)} is masked, expected a number: fill it first")
        return np.asarray(values.data)
    if hasattr(values, "collect") and hasattr(values, "lazy"):
        raise InputError(f"{name} is a lazy frame, expected its rows: {name}.collect()")
    if hasattr(values, "tocsr"):
        raise InputError(f"{name} is a sparse matrix, expected a dense one: {name}.toarray()")
    try:
        return np.asarray(values)
    except (TypeError, RuntimeError) as error:  # PyTorch's: bfloat16, a tensor with a gradient
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name} is {with_article(type(values).__name__)} that NumPy cannot read ({reason}), "
            f"expected an array: for a tensor of PyTorch {name}.detach().float()"
        ) from None
    except ValueError:
        raise ShapeError(f"{name} has rows of different lengths") from None


def _first_word(array: Array) -> tuple[tuple[int, ...], Any]:
    for place, value in np.ndenumerate(array):
        if not isinstance(value, int | float | np.number):
            return place, value.item() if isinstance(value, np.generic) else value
    return (), array.dtype.name


def finite(array: Array, dtype: str, name: Name) -> Array:
    """The array in that precision; an `InputError` unless all of it is finite there."""
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype)
    array = np.atleast_1d(array)
    for start in range(0, len(array), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        if np.isfinite(converted[part]).all():
            continue
        row, *column = np.argwhere(~np.isfinite(converted[part]))[0]
        place = (row + start, *column)
        reason = "" if not np.isfinite(array[place]) else f" in {dtype}"
        raise InputError(f"{name.at(place)} is {array[place]}, expected a finite number{reason}")
    return converted


def _expect_distinct(exact: Array, rounded: Array, name: Name) -> None:
    """Warn of a column whose values float32 merges: times, identifiers, prices of large sums.

    The first rows tell. A column whose quartiles lie 2²⁰ steps of float32 apart is not looked at:
    of values so far apart few merge.
    """
    exact, rounded = exact[:ROWS_AT_ONCE], rounded[:ROWS_AT_ONCE]
    if not len(exact):
        return
    few = np.sort(rounded[:QUARTILE_ROWS], axis=0)
    low, middle, high = (few[len(few) * k // 4] for k in (1, 2, 3))
    step = np.spacing(np.abs(middle))
    for i in np.flatnonzero(high - low < 2.0**20 * step).tolist():
        before, after = len(np.unique(exact[:, i])), len(np.unique(rounded[:, i]))
        if after < (1 - LOST_VALUES) * before:
            advise(
                f"{name.text}, {name.column(i)}: float32 merges its values, {before} of them into "
                f"{after}: subtract an offset such as {exact[0, i]:g}, or take dtype='float64'"
            )
            return


def _class_numbers(array: Array, classes: int, name: Name) -> Array:
    if classes < 2:
        raise ShapeError(
            f"the network has {classes} output, but class numbers need one a class: "
            "make the last layer wider, or take SigmoidCrossEntropy"
        )
    if array.dtype.kind == "f":
        _refuse(~np.isfinite(array) | (array != np.floor(array)), array, name, "class numbers")
    _refuse(
        (array < 0) | (array >= classes),
        array,
        name,
        f"a class number from 0 to {classes - 1}, one for each output",
    )
    return np.ascontiguousarray(array, np.int64)


def _refuse(bad: Array, array: Array, name: Name, expected: str) -> None:
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        raise InputError(f"{name.at(place)} is {array[place]}, expected {expected}")
