"""One IDX file, gzipped or not.

A file is 4 bytes 0, 0, type, number of axes; the length of each axis, 4 bytes, big end first; and
the values, big end first. Source: Y. LeCun, "The MNIST database".
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from ..errors import FileError
from ..graph.tensor import Array

UNSIGNED_BYTES = 8
TYPES = {UNSIGNED_BYTES: ">u1", 9: ">i1", 11: ">i2", 12: ">i4"}
FLOATS = (13, 14)

CHUNK = 1 << 20
"""Bytes that are read at one go, so a header that promises too much takes no memory."""


def read_idx(path: Path, *axes: int) -> Array:
    """The whole numbers of an IDX file with one of those numbers of axes."""
    with _opened(path) as file:
        start = _take(file, 4)
        if len(start) < 4 or start[:2] != b"\0\0":
            raise FileError(f"{path}: not an IDX file")
        kind, found = start[2:]
        if kind not in TYPES or found not in axes:
            raise FileError(
                f"{path}: an IDX file of type {kind} with {found} axes, expected type "
                f"{UNSIGNED_BYTES} (unsigned bytes) with {' or '.join(map(str, axes))}"
                + f"; type {kind} holds floats"
                * (kind in FLOATS)
            )
        lengths = _take(file, 4 * found)
        if len(lengths) < 4 * found:
            raise FileError(f"{path}: not an IDX file: it ends within its header")
        shape = np.frombuffer(lengths, ">u4").tolist()
        return _values(path, file, np.dtype(TYPES[kind]), shape)


def _values(
    path: Path, file: BufferedIOBase, dtype: np.dtype[np.generic], shape: list[int]
) -> Array:
    size, product = math.prod(shape), " × ".join(map(str, shape))
    expected = f"{product} = {size}" if len(shape) > 1 else product
    if size == 0:
        raise FileError(f"{path}: there are no images or labels in it: {product} values")
    length = size * dtype.itemsize
    data = _take(file, length + CHUNK)
    if len(data) != length:
        more = "more than " * (len(data) == length + CHUNK)
        raise FileError(
            f"{path}: {more}{len(data) / dtype.itemsize:.15g} values, expected {expected}: "
            "the file is cut short or damaged"
        )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _take(file: BufferedIOBase, count: int) -> bytearray:
    """So many bytes, or fewer at the end of the file."""
    data = bytearray()
    while len(data) < count and (part := file.read(min(CHUNK, count - len(data)))):
        data += part
    return data


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """The contents, unpacked; what goes wrong while they are read is told in a line."""
    try:
        with path.open("rb") as raw:
            if raw.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(raw) as file:
                    yield file
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(f"{path}: damaged gzip file: {error}") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
