"""The files that a command may replace: those that it made."""

import contextlib
from pathlib import Path

from ..errors import FileError
from ..files import named
from ..training.model_file import Header, read

NOT_REPLACED = "it is not replaced, name another file by --out"

PAGE_MARK = b'content="chainrule report"'
"""Each page of `report` has this in its first 1,000 bytes."""


def expect_model_of(command: str, path: str) -> Header | None:
    """The description of the model that is there, if any; raise unless this command made it."""
    if not Path(path).exists():
        return None
    maker = header = None
    with contextlib.suppress(FileError):
        header = read(path)[0]
        maker = header.notes.get("command")
    if maker != command:
        by = f"made by `chainrule {maker}`" if maker else f"not made by `chainrule {command}`"
        raise FileError(f"{path} is there, and {by}: {NOT_REPLACED}")
    return header


def expect_page(path: str) -> None:
    """Raise unless the file is not there yet, or a page that `report` made."""
    with named("read", path):
        if not Path(path).exists():
            return
        with Path(path).open("rb") as opened:
            if PAGE_MARK in opened.read(1000):
                return
    raise FileError(f"{path} is there, and not made by `chainrule report`: {NOT_REPLACED}")
