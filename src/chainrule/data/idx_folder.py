"""Folders of IDX files, as MNIST, Fashion-MNIST, EMNIST and QMNIST come.

| who | files |
| --- | --- |
| MNIST, Fashion-MNIST, KMNIST | train-images-idx3-ubyte, t10k-labels-idx1-ubyte, …, or with a dot |
| EMNIST | emnist-letters-train-images-idx3-ubyte, emnist-letters-test-labels-idx1-ubyte, … |
| QMNIST | qmnist-train-images-idx3-ubyte, qmnist-train-labels-idx2-int, … |
| Kaggle | a folder for each file: train-images-idx3-ubyte/train-images-idx3-ubyte |
| torchvision | MNIST/raw/train-images-idx3-ubyte, …: the folder, or the one above |

Each file may be gzipped. EMNIST's letters count from 1, so there is a class 0 without rows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileError
from ..files import named
from ..graph.tensor import Array
from .idx import read_idx
from .split import Split

NAME = re.compile(
    r"(?P<prefix>.*-)?(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx\d-(ubyte|int)(\.gz)?",
    re.IGNORECASE | re.DOTALL,
)
NAMED = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}

MAX_LABEL = 65_535
"""A network has an output for each class: a larger label is a damaged one."""

QMNIST_COLUMNS = 8
"""Of which the first is the class, and the others tell who wrote the digit."""

TRANSPOSED = "EMNIST's images are stored transposed: an image's rows are its columns in MNIST"


@dataclass(frozen=True)
class Named:
    """A file, and what its name says."""

    path: Path
    prefix: str
    part: str
    what: str


def folder(path: Path) -> tuple[Split, Split, float, str]:
    """Training rows, test rows, the factor to 0…1, and what there is to say about the images."""
    with named("read", path):
        home, prefix, files = _one_set(path)
        tests = {file.part for file in files} - {"train"}
        if len(tests) > 1:
            raise FileError(f"{home}: files of both {prefix}t10k and {prefix}test, expected one")
    usual = "test" if prefix else "t10k"
    train, test = (_part(home, files, prefix, part) for part in ("train", *(tests or {usual})))
    if train.X.shape[1] != test.X.shape[1]:
        raise FileError(
            f"{path}: test images have {test.X.shape[1]} pixels, training images {train.X.shape[1]}"
        )
    return train, test, 1 / 255, TRANSPOSED if prefix.startswith("emnist") else ""


# Files by their names ----------------------------------------------------------------------------


def _one_set(path: Path) -> tuple[Path, str, list[Named]]:
    """The folder, the prefix and the files of the only data set there."""
    for homes in ([path], [path / "raw", *sorted(path.glob("*/raw"))]):
        found: dict[tuple[Path, str], list[Named]] = {}
        for home in homes:
            for file in _files(home):
                found.setdefault((home, file.prefix), []).append(file)
        if len(found) > 1:
            names = [str((home / f"{prefix}train-…").relative_to(path)) for home, prefix in found]
            raise FileError(
                f"{path}: files of several data sets, {', '.join(names)}: expected one; name its "
                "folder, or put its files into a folder of their own"
            )
        for (home, prefix), files in found.items():
            return home, prefix, files
    return path, "", []


def _files(home: Path) -> Iterator[Named]:
    """Files by their names, with a plain file before a gzipped one of the same name."""
    for path in sorted(home.iterdir()) if home.is_dir() else ():
        if match := NAME.fullmatch(path.name):
            prefix, part, what = (match[group] or "" for group in ("prefix", "part", "what"))
            inside = sorted(path.iterdir()) if path.is_dir() else [path]
            for file in inside:
                if file.is_file() and (file is path or NAME.fullmatch(file.name)):
                    yield Named(file, prefix.lower(), part.lower(), what.lower())


def _find(home: Path, files: list[Named], prefix: str, part: str, what: str) -> Path:
    for file in files:
        if (file.part, file.what) == (part, what):
            return file.path
    usual = f"{prefix}{part}-{NAMED[what]}"
    raise FileError(f"{home}: there is no {usual} or {usual}.gz in it, so it is no IDX data set")


# Rows --------------------------------------------------------------------------------------------


def _part(home: Path, files: list[Named], prefix: str, part: str) -> Split:
    """The rows of `part`."""
    images_path = _find(home, files, prefix, part, "images")
    labels_path = _find(home, files, prefix, part, "labels")
    images, labels = _images(images_path), _labels(labels_path)
    if len(images) != len(labels):
        raise FileError(f"{labels_path}: {len(labels)} labels for {len(images)} images")
    return Split(images, labels)


def _images(path: Path) -> Array:
    """Bytes [rows, pixels]."""
    images = read_idx(path, 3)
    rows = images.reshape(len(images), -1)
    _check(path, rows, 255, "a pixel")
    return rows.astype(np.uint8, copy=False)


def _labels(path: Path) -> Array:
    """Class numbers [rows]."""
    labels = read_idx(path, 1, 2)
    if labels.ndim == 2:
        if labels.shape[1] not in (1, QMNIST_COLUMNS):
            raise FileError(
                f"{path}: labels of {labels.shape[1]} columns, expected 1, or {QMNIST_COLUMNS} as "
                "QMNIST has, with the class in the first"
            )
        labels = np.ascontiguousarray(labels[:, 0])
    _check(path, labels, MAX_LABEL, "a label")
    return labels


def _check(path: Path, values: Array, most: int, what: str) -> None:
    """Refuse the first row with a value that is not in 0…most."""
    if values.dtype == np.uint8:
        return
    bad = (values < 0) | (values > most)
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        raise FileError(
            f"{path}: {what} of row {place[0]} is {values[place]}, expected 0 to {most}"
        )
