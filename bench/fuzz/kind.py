"""What a kind of input offers to a campaign."""

from __future__ import annotations

import contextlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from random import Random


class Wrong(Exception):
    """The product did what it must not do, without an exception of its own."""


class Kind(ABC):
    """A kind of input: how an input is made, and what reads it.

    Each input has a folder of its own, empty at first, in which the process works.
    """

    count = 1_000
    """How many inputs, unless told otherwise."""
    seconds = 10.0
    """The most that an input may take."""
    megabytes = 2_000
    """The most memory that the process may have meanwhile."""
    interrupt_after: float | None = None
    """Seconds after which Ctrl-C is pressed; an input may be a valid order for a long job."""

    @abstractmethod
    def prepare(self, base: Path) -> None:
        """Write what inputs are made from to `base`: once, before any process starts."""

    @abstractmethod
    def make(self, number: int, random: Random, base: Path, folder: Path) -> str:
        """Write an input to `folder`; what it is, in a few words."""

    @abstractmethod
    def run(self, folder: Path, random: Random) -> bool:
        """Read the input: True accepted, False refused. A `ChainruleError` is a refusal too."""

    def may_change(self, name: str) -> bool:
        """Whether `run` may write that file of the folder."""
        return False


def command(*arguments: str) -> str | None:
    """Run a command in this process: None if it is done, else the line that it said."""
    from chainrule.cli.main import status

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "replace") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = status(list(arguments))
    err.flush()
    said = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
    if code == 0:
        return None
    if code not in (1, 2):
        raise Wrong(f"status {code}")
    said = said.removeprefix("\n")  # click ends the line on which ^C stands
    if said.count("\n") != 1 or not said.startswith("chainrule: "):
        raise Wrong(f"status {code}, and not in one line: {said[:300]!r}")
    if "the output cannot be written" in said:
        raise Wrong(f"an error of the system that is none of the output: {said[:300]!r}")
    return said


def copied(files: dict[str, bytes], folder: Path) -> None:
    """Write files, with the folders that their names tell."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    """Regular files below a folder, by name."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if path.is_file():
                with contextlib.suppress(OSError):
                    found[str(path.relative_to(folder))] = path.read_bytes()
    return found


Change = Callable[[Random], str]
"""A change of an input, which tells in a few words what it did."""
