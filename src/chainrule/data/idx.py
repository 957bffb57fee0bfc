"""IDX files, the format of MNIST and Fashion-MNIST, gzipped or not.

A file is 4 bytes 0, 0, type, number of axes; the length of each axis, 4 bytes, big end first; and
the values. Source: Y. LeCun, "The MNIST database".
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ..errors import FileError
from ..graph.tensor import Array
from .split import Split

UNSIGNED_BYTES = 8
PARTS = {"train": "train", "test": "t10k"}


def folder(path: Path) -> tuple[Split, Split, float]:
    """Training rows, test rows, and the factor to 0…1, from the four files of such a data set."""
    train, test = (_part(path, prefix) for prefix in PARTS.values())
    if train.X.shape[1] != test.X.shape[1]:
        raise FileError(
            f"{path}: test images have {test.X.shape[1]} pixels, training images {train.X.shape[1]}"
        )
    return train, test, 1 / 255


def read_idx(path: Path, axes: int) -> Array:
    """The values of an IDX file of unsigned bytes with that many axes."""
    data = _bytes(path)
    header = 4 + 4 * axes
    if len(data) < header or data[:2] != b"\0\0":
        raise FileError(f"{path}: not an IDX file")
    kind, found = data[2], data[3]
    if (kind, found) != (UNSIGNED_BYTES, axes):
        raise FileError(
            f"{path}: an IDX file of type {kind} with {found} axes, "
            f"expected type {UNSIGNED_BYTES} (unsigned bytes) with {axes}"
        )
    shape = np.frombuffer(data, ">u4", axes, offset=4).tolist()
    if len(data) - header != math.prod(shape):
        raise FileError(
            f"{path}: {len(data) - header} values, expected {' × '.join(map(str, shape))} = "
            f"{math.prod(shape)}: the file is cut short or damaged"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _part(path: Path, prefix: str) -> Split:
    images_path, labels_path = _find(path, prefix, "images", 3), _find(path, prefix, "labels", 1)
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise FileError(f"{labels_path}: {len(labels)} labels for {len(images)} images")
    if images.size == 0:
        raise FileError(f"{images_path}: there are no images in it")
    return Split(images.reshape(len(images), -1), labels)


def _find(path: Path, prefix: str, what: str, axes: int) -> Path:
    usual = f"{prefix}-{what}-idx{axes}-ubyte"
    for name in (usual, usual.replace("-idx", ".idx")):
        for candidate in (path / name, path / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    raise FileError(f"{path}: there is no {usual} or {usual}.gz in it, so it is no IDX data set")


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileError(f"{path}: damaged gzip file: {error}") from None
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from None
