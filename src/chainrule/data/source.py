"""What a data source gives: rows to train on, and rows to test on, once."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileError
from ..files import as_text, named
from .digits import digits
from .idx_folder import folder
from .split import Split


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows X [rows, features] with class numbers y; `factor` brings the values to 0…1.

    `note` says what people should know of the values, in one line; mostly there is nothing.
    """

    name: str
    train: Split
    test: Split
    classes: int
    factor: float
    note: str = ""


EMBEDDED: dict[str, Callable[[], tuple[Split, Split, float]]] = {"digits": digits}
"""The data sets that need no file, by name."""


def open_source(source: str | os.PathLike[str]) -> Dataset:
    """An embedded data set by its name, or a folder of IDX files.

    >>> open_source("digits").train.X.shape
    (1438, 64)
    >>> open_source("digts")
    Traceback (most recent call last):
    chainrule.errors.FileError: digts: no such folder; embedded data sets are: digits
    """
    with named("read", source):
        path = Path(source)
        is_folder, exists = path.is_dir(), path.exists()
    if str(source) in EMBEDDED and not is_folder:
        name, (train, test, factor), note = str(source), EMBEDDED[str(source)](), ""
    elif is_folder:
        name, (train, test, factor, note) = as_text(path.resolve().name) or "model", folder(path)
    elif exists:
        raise FileError(f"{source}: a file, expected a folder of IDX files")
    else:
        known = ", ".join(EMBEDDED)
        raise FileError(f"{source}: no such folder; embedded data sets are: {known}")
    classes = int(max(np.max(train.y), np.max(test.y))) + 1
    return Dataset(name, train, test, classes, factor, note)
