"""What the user gives, as arrays that a program can read; what does not fit is named here."""

import contextlib
from typing import Any

import numpy as np

from ..errors import InputError, ShapeError
from ..graph import shape as shapes
from ..graph.tensor import Array
from ..nn.losses import Target

ROWS_AT_ONCE = 4096  # checks go through the data in parts, so they need no second copy of it


def features(X: Any, dtype: str, name: str = "X") -> Array:
    """A matrix of finite numbers [rows, features]; bytes stay bytes until a batch is gathered."""
    array = numbers(X, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ShapeError(f"{name} is {shapes.text(array.shape)}, expected [rows, features]")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)  # once, not at each run
    return _finite(array, dtype, name)


def targets(y: Any, kind: Target, columns: int, dtype: str, name: str = "y") -> Array:
    """Targets for a network with that many outputs: class numbers [rows], or [rows, columns]."""
    array = numbers(y, name)
    if kind == "class" and array.ndim == 1:
        return _class_numbers(array, columns, name)
    matrix = array[:, None] if array.ndim == 1 else array
    if matrix.ndim != 2 or matrix.shape[1] != columns:
        raise ShapeError(
            f"{name} is {shapes.text(array.shape)}, but the network has {columns} outputs: "
            f"expected [rows, {columns}]" + (" or class numbers [rows]" if kind == "class" else "")
        )
    matrix = _finite(matrix, dtype, name)
    if kind != "real":
        _refuse((matrix < 0) | (matrix > 1), matrix, name, "from 0 to 1")
    if kind == "class":
        sums = matrix.sum(axis=1, dtype=np.float64)
        _refuse(np.abs(sums - 1) > 1e-3, sums, f"the sum of {name}", "1, as of probabilities")
    return matrix


def weights(values: Any, rows: int, dtype: str, name: str = "sample_weight") -> Array:
    """Weights of rows: finite, 0 or more, and not all 0."""
    array = numbers(values, name)
    if array.shape != (rows,):
        raise ShapeError(f"{name} is {shapes.text(array.shape)}, expected [{rows}]")
    array = _finite(array, dtype, name)
    _refuse(array < 0, array, name, "0 or more")
    if rows and not array.any():
        raise InputError(f"{name} is 0 everywhere")
    return array


def numbers(values: Any, name: str) -> Array:
    """An array of numbers of any type."""
    try:
        array = np.asarray(values)
    except ValueError:
        raise ShapeError(f"{name} has rows of different lengths") from None
    if array.dtype.kind == "O":
        with contextlib.suppress(TypeError, ValueError):
            array = array.astype(np.float64)
    if array.dtype.kind not in "fiub":
        place, value = _first_word(array)
        raise InputError(f"{name}{place} is {value!r}, expected a number")
    return array


def _first_word(array: Array) -> tuple[str, Any]:
    for place, value in np.ndenumerate(array):
        if not isinstance(value, int | float | np.number):
            return _place(place), value.item() if isinstance(value, np.generic) else value
    return "", array.dtype.name


def _finite(array: Array, dtype: str, name: str) -> Array:
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype)
    for start in range(0, len(array), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        if np.isfinite(converted[part]).all():
            continue
        row, *column = np.argwhere(~np.isfinite(converted[part]))[0]
        place = (row + start, *column)
        reason = "" if not np.isfinite(array[place]) else f" in {dtype}"
        raise InputError(
            f"{name}{_place(place)} is {array[place]}, expected a finite number{reason}"
        )
    return converted


def _class_numbers(array: Array, classes: int, name: str) -> Array:
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


def _refuse(bad: Array, array: Array, name: str, expected: str) -> None:
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        raise InputError(f"{name}{_place(place)} is {array[place]}, expected {expected}")


def _place(place: tuple[Any, ...]) -> str:
    if not place:
        return ""
    words = ["row", "column"] if len(place) <= 2 else [f"axis {i}" for i in range(len(place))]
    return " at " + ", ".join(f"{word} {i}" for word, i in zip(words, place, strict=False))
