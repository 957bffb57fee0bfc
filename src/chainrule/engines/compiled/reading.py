"""How a program reads rows of the data: gathered, gathered and marked, or where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...graph.tensor import Array, DType
from .gather_code import MARKED
from .native import host

LONG_ROW = 1024
"""Bytes of a row that products read in its place: the processor looks ahead along such rows, while
many short ones are asked for in time by a gather alone."""

FEWEST_COLUMNS = 32
"""Of which zeros are left out; of fewer, to list the others takes as long as it saves."""

MOST_TERMS = 0.6
"""The share of a sum's terms that may be left where zeros are left out, for it to pay."""

SAMPLE = 64
"""Rows, from all over the data, that are looked at for zeros."""


@dataclass(frozen=True)
class Reading:
    """Whether products read rows where they lie in the data, and whether they leave out zeros,
    which are marked in a batch. That changes how long a step takes, and nothing else."""

    kind: str
    in_place: bool
    marked: bool

    @property
    def gather(self) -> str:
        """The code that does before the products what is to be done."""
        if self.in_place:
            return "marks alone" if self.marked else "nothing"
        return f"{self.kind}, marked" if self.marked else self.kind


USUAL = Reading("float32", in_place=False, marked=False)
"""What is compiled for, before there are any data."""


def reading(source: Array, has_products: bool, for_products: bool) -> Reading:
    """How to read rows that products multiply, or products alone."""
    kind = source.dtype.name
    in_place = for_products and kind == "float32" and source.flags.aligned and _are_long(source)
    return Reading(kind, in_place, has_products and kind in MARKED and _has_many_zeros(source))


def gatherable(data: Array, dtype: DType) -> Array:
    """Data of a type that the driver can gather from: bytes may stay bytes until then."""
    if dtype != "float":
        return np.ascontiguousarray(data, np.int64)
    return np.ascontiguousarray(data, np.uint8 if data.dtype == np.uint8 else np.float32)


def empty_marks(rows: int, columns: int) -> Array:
    """A bit a number: for each eight rows, and each eight columns, a byte a row.

    Threads, whose shares are eight rows or more, seldom write to the same line of the cache. There
    are eight columns too many, since those of a tile may lie in two bytes.
    """
    return np.zeros((-(-rows // 8), -(-columns // 8) + 1, 8), np.uint8)


def _are_long(data: Array) -> bool:
    return bool(data[:1].nbytes >= LONG_ROW)


def _has_many_zeros(data: Array) -> bool:
    """Whether tiles of products can leave out much: columns in which two rows of a batch have 0,
    and rows in which all columns of a tile have."""
    if data.ndim != 2 or data.shape[1] < FEWEST_COLUMNS or len(data) == 0:
        return False
    sample = data[:: -(-len(data) // SAMPLE)] != 0
    if np.count_nonzero(sample) > MOST_TERMS * sample.size:
        return False
    height, _ = host().tile
    of_rows = 1 - ((1 - sample.mean(axis=0)) ** 2).mean()
    of_columns = np.logical_or.reduceat(sample, range(0, data.shape[1], height), axis=1).mean()
    return bool((of_rows + of_columns) / 2 <= MOST_TERMS)
