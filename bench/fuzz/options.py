"""Every option of every command, with values that people mistype and that nobody thought of."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from random import Random

import click

from . import studies
from .kind import Kind, Wrong, command, contents

WORDS = (
    "", " ", "0", "1", "-1", "2", "-0", "+1", "1.0", "0.5", "1e3", "1_0", "0x10", "nan", "inf",
    "-inf", "1e400", "1e-400", "1e300", "2147483647", "2147483648", "-2147483649", "4294967295",
    "4294967296", "99999999999999999999", "9" * 5_000, "٣", "½", "x", "x" * 10_000, "a\nb",
    "\x1b[31m", "é\udcff", "--help", "-", "--", "0,0", ",", "4,,4", "4," * 3_000 + "4", "true",
    "None", "%s", "../..",
)  # fmt: skip

PATHS = (
    "folder", "folder/", "folder/victim.txt", "victim.txt/x", "model", "study", "text", "empty",
    "/dev/null", "/dev/full", "/dev/stdin", "/proc/self/mem", "/", ".", "..", "loop", "dangling",
    "pipe", "locked/x", "none/x", "new", "digits.safetensors", "digits-best.", "digits.db",
)  # fmt: skip

JOBS = {
    "train": {"": "digits", "--epochs": "1", "--hidden": "4"},
    "search": {"": "digits", "--epochs": "1", "--trials": "1"},
    "report": {"": "model"},
    "inspect": {"": "model"},
    "cache": {},
}
"""What each command is told beside the option in question; "" is its argument."""


def cases() -> list[tuple[str, str, str | None]]:
    """(command, option, value) for all of them; no value for a flag."""
    from chainrule.cli.main import main

    found: list[tuple[str, str, str | None]] = []
    for name, what in main.commands.items():
        for param in what.params:
            if isinstance(param, click.Option) and param.is_flag:
                found += [(name, word, None) for word in (*param.opts, *param.secondary_opts)]
                found += [(name, param.opts[-1], word) for word in ("", "x")]
                continue
            option = param.opts[-1] if isinstance(param, click.Option) else ""
            found += [(name, option, value) for value in (*WORDS, *PATHS)]
    return found


class Options(Kind):
    """A command with one option of another value; `count` of them are taken, evenly."""

    interrupt_after = 3.0

    def __init__(self) -> None:
        # Before any alarm: an import that is cut short leaves half a module behind.
        importlib.import_module("sklearn.datasets")
        self._cases = cases()
        self.count = len(self._cases)
        self._case: tuple[str, str, str | None] = ("", "", None)
        self._before: dict[str, bytes] = {}

    def prepare(self, base: Path) -> None:
        """A small model and a small study."""
        with contextlib.chdir(base):
            command("train", "digits", "--epochs=1", "--hidden=4", "--out=model", "--quiet")
            studies.search().run(*studies.rows()).close()
            os.rename(studies.NAME, "study")

    def make(self, number: int, random: Random, base: Path, folder: Path) -> str:
        """What a value may name lies in the folder, and what nobody may touch."""
        self._case = self._cases[number * 7_919 % len(self._cases)]
        for name in ("model", "study"):
            (folder / name).write_bytes((base / name).read_bytes())
        for name in ("folder", "locked"):
            (folder / name).mkdir()
        (folder / "folder" / "victim.txt").write_text("mine")
        (folder / "victim.txt").write_text("mine")
        (folder / "text").write_text("a text\n")
        (folder / "empty").touch()
        os.symlink("loop", folder / "loop")
        os.symlink("nowhere/x", folder / "dangling")
        os.mkfifo(folder / "pipe")
        (folder / "locked").chmod(0)
        self._before = contents(folder)
        return repr(self._arguments())[:300]

    def _arguments(self) -> list[str]:
        name, option, value = self._case
        told = JOBS[name] | ({} if value is None else {option: value})
        argument = told.pop("", None)
        options = [f"{key}={word}" for key, word in told.items()]
        options += [option] if value is None else []
        if option != "--quiet":
            options.append("--quiet")
        return [name, *options, *([] if argument is None else ["--", argument])]

    def run(self, folder: Path, random: Random) -> bool:
        """Run the command; a refusal leaves everything as it was."""
        refused = command(*self._arguments())
        if refused is None:
            return True
        left = set(contents(folder)) - set(self._before)
        if left and "interrupted" not in refused:  # then a model or a study is kept
            raise Wrong(f"{refused.strip()}: but it left {sorted(left)}")
        return False

    def may_change(self, name: str) -> bool:
        """The usual results, and the file that the value names."""
        usual = name.startswith(
            ("digits.safetensors", "digits-best.", "digits.db", "model.html", "study.html")
        )
        value = self._case[2] or "x"
        is_out = self._case[1] in ("--out", "--study", "--resume")
        return (
            usual
            or (is_out and name.startswith(os.path.normpath(value)))
            or (self._case[1] == "--study" and name == f"{Path(value).stem}-best.safetensors")
            or (self._case[1] == "" and name.endswith((".html", ".safetensors", ".db")))
        )
