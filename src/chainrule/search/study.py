"""A study: one SQLite file with all that a search has found, readable with plain SQL.

| table | a row |
| --- | --- |
| study | a fact about the search: key, value as JSON |
| rounds | the ranges that trials were drawn from, as JSON, and why they changed |
| trials | a trial: round, settings as JSON, status (running, done, abandoned, failed), reason |
| rungs | what a trial had come to: epochs, score, loss, seconds since the search began |
| splits | a leader trained on another split of the rows: score, loss |
| final | the final model, epoch by epoch: a metric's value |
| looks | a measurement on test rows: when, scores as JSON |
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Required, TypedDict, TypeVar

import msgspec
import numpy as np

from ..errors import FileError, InputError
from ..files import DATABASE, check_writable, lock, named

VERSION = 1
APPLICATION = 0x63687231  # "chr1": SQLite keeps it in the file's header
HEADER = 100  # bytes: https://www.sqlite.org/fileformat.html#the_database_header

REASONS = {
    "SQLITE_FULL": "cannot be written",
    "SQLITE_READONLY": "cannot be written",
    "SQLITE_IOERR": "cannot be read or written",
    "SQLITE_CANTOPEN": "cannot be opened",
    "SQLITE_BUSY": "somebody is at work on this study",
    "SQLITE_LOCKED": "somebody is at work on this study",
}
"""What SQLite's codes mean for the user."""

DAMAGED = "damaged or no study"

TABLES = """
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE rounds (number INTEGER PRIMARY KEY, space TEXT NOT NULL, reasons TEXT NOT NULL);
CREATE TABLE trials (
    number INTEGER PRIMARY KEY, round INTEGER NOT NULL, settings TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE rungs (
    trial INTEGER NOT NULL, rung INTEGER NOT NULL, epochs INTEGER NOT NULL,
    score REAL, loss REAL, seconds REAL NOT NULL, PRIMARY KEY (trial, rung)
);
CREATE TABLE splits (
    trial INTEGER NOT NULL, split INTEGER NOT NULL, score REAL, loss REAL,
    PRIMARY KEY (trial, split)
);
CREATE TABLE final (
    epoch INTEGER NOT NULL, metric TEXT NOT NULL, value REAL, PRIMARY KEY (epoch, metric)
);
CREATE TABLE looks (number INTEGER PRIMARY KEY, time TEXT NOT NULL, scores TEXT NOT NULL);
"""


Row = TypeVar("Row")

Number = float | None
"""As SQLite has it: what is not finite stands there as NULL."""


class Facts(TypedDict, total=False):
    """Of a search as a whole, what is looked at again when it goes on."""

    space: Required[dict[str, dict[str, Any]]]
    data: Required[str]
    build: str
    epochs: int
    batch_size: int
    validation_fraction: float
    seed: int
    scored_by: str
    reduction: int | None
    narrow: bool
    round_size: int
    draw: str
    loss_varies: bool
    together: Annotated[int, msgspec.Meta(ge=1)]


class Study:
    """The file of a study, open for one process; without a path, it is kept in memory."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        held = None if path is None else _held_alone(check_writable(path))
        with told(self.path):
            self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
        self.close = weakref.finalize(self, _let_go, self._db, held)
        """Let the file go; it is also let go with the last reference to this object."""
        try:
            with told(self.path):
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        """Check the study that is there before anything is written, or begin a new one."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables or version:
            expect_study(self.path, application, version)
        if self._db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages do not fit together")
        if not tables:  # first, and not to the log: `expect_header` reads it there
            self._db.execute(f"PRAGMA application_id={APPLICATION}")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        if not tables:
            self._db.executescript(f"BEGIN; {TABLES} PRAGMA user_version={VERSION}; COMMIT;")

    def write(self, changes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Rows into tables, all of them or none; a row with the same key is replaced."""
        with self._lock, told(self.path), self._db:
            for table, row in changes:
                marks = ", ".join("?" * len(row))
                self._db.execute(
                    f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})",
                    [to_column(value) for value in row.values()],
                )

    def rows(self, query: str, kind: type[Row]) -> list[Row]:
        """What an SQL query finds, each row of that kind."""
        with self._lock, told(self.path):
            return msgspec.convert(self._db.execute(query).fetchall(), list[kind])  # type: ignore[valid-type]

    def facts(self) -> Facts | None:
        """What is known of the search as a whole; None of a new one."""
        rows = self.rows("SELECT key, value FROM study", tuple[str, str])
        ((trials,),) = self.rows("SELECT count(*) FROM trials", tuple[int])
        with told(self.path):
            found = {key: msgspec.json.decode(value) for key, value in rows}
            return msgspec.convert(found, Facts) if found or trials else None

    def settings(self) -> dict[int, dict[str, Any]]:
        """Those of all trials, by number."""
        rows = self.rows("SELECT number, settings FROM trials", tuple[int, str])
        with told(self.path):
            return {n: msgspec.json.decode(text, type=dict[str, Any]) for n, text in rows}

    def note(self, **facts: Any) -> None:
        """Set facts about the search as a whole."""
        self.write([("study", {"key": k, "value": Json(v)}) for k, v in facts.items()])


@contextlib.contextmanager
def told(path: object) -> Iterator[None]:
    """What SQLite says, or the file that is nothing of ours, in a line that names it."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise InputError("the study is closed: nothing more can be read or written") from None
    except sqlite3.Error as error:
        reason = next((r for code, r in REASONS.items() if code in _code(error)), DAMAGED)
        raise FileError(f"{path}: {reason}: {error}") from None
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
        raise FileError(f"{path}: {DAMAGED}: {error}") from None


class Json:
    """A value that is written as JSON."""

    def __init__(self, value: Any) -> None:
        self.value = value


def expect_header(path: object, header: bytes) -> None:
    """Raise unless a file that begins so is a study, or empty; SQLite has not opened it yet.

    SQLite would take a file of one byte for an empty database, and would write what is left of
    another application's log into its database.
    """
    if not header:
        return
    if not header.startswith(DATABASE) or len(header) < HEADER:
        raise FileError(f"{path}: {DAMAGED}: it does not begin as a database of SQLite does")
    _expect_application(path, int.from_bytes(header[68:72], "big"))


def expect_study(path: object, application: int, version: int) -> None:
    """Raise unless a database with these marks in its header is a study that can be read."""
    _expect_application(path, application)
    if version == 0:
        raise FileError(f"{path}: a study that has not begun: nothing is in it")
    if version > VERSION:
        raise FileError(
            f"{path}: a study of format {version}, from a newer chainrule; this one "
            f"reads format {VERSION}"
        )


def _expect_application(path: object, application: int) -> None:
    if application != APPLICATION:
        raise FileError(f"{path}: a database, but no study of chainrule")


def to_column(value: Any) -> Any:
    """A value as SQLite holds it: NaN and infinity, which it has not, as nothing."""
    if isinstance(value, Json):
        return to_json(value.value)
    return None if isinstance(value, float) and value - value != 0.0 else value


def to_json(value: Any) -> str:
    """A value as JSON; a number of NumPy's becomes one of Python's."""
    return msgspec.json.encode(value, enc_hook=_plain).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise InputError(f"{value!r} cannot be written to a study")


def _held_alone(path: Path) -> int:
    """The file, open and locked: a second process is told that somebody is at work on it."""
    with named("write", path):
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not lock(held):
            raise FileError(
                f"{path}: somebody is at work on this study: another process, or an open Result"
            )
        with named("read", path):
            expect_header(path, os.read(held, HEADER))
    except BaseException:
        os.close(held)
        raise
    return held


def _code(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _let_go(db: sqlite3.Connection, held: int | None) -> None:
    db.close()
    if held is not None:
        os.close(held)
