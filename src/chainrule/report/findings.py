"""What a study holds, read without changing it, also while the search is at work."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..files import check_readable, named
from ..locks import cached_property
from ..search.noise import flattery
from ..search.space import Value
from ..search.study import HEADER, expect_header, expect_study, told
from ..search.trial import Status
from ..training.metrics import larger_is_better


@dataclass(frozen=True)
class Rung:
    """What a trial had come to; the seconds of a search that was resumed go on."""

    trial: int
    epochs: int
    score: float | None
    loss: float | None
    seconds: float


@dataclass(frozen=True)
class Trial:
    """One setting and how it fared."""

    number: int
    round: int
    settings: dict[str, Value]
    status: Status
    reason: str
    rungs: tuple[Rung, ...] = ()

    @property
    def score(self) -> float | None:
        """The last one."""
        return self.rungs[-1].score if self.rungs else None

    @property
    def epochs(self) -> int:
        """How far it came."""
        return self.rungs[-1].epochs if self.rungs else 0


@dataclass(frozen=True)
class Range:
    """What a setting may be: options, or numbers from low to high; and when there is one."""

    options: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False
    condition: str = ""

    def __str__(self) -> str:
        if self.low is None:
            return ", ".join(map(str, self.options))
        return f"{self.low:.3g} to {self.high:.3g}"


@dataclass(frozen=True)
class Round:
    """The ranges that trials were drawn from, and why they are other than before."""

    number: int
    space: dict[str, Any]
    reasons: dict[str, str]
    ranges: dict[str, Range] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class SplitScore:
    """A leader's score on another split of the rows."""

    trial: int
    split: int
    score: float | None


@dataclass(frozen=True)
class FinalValue:
    """A metric of the final model after an epoch."""

    epoch: int
    metric: str
    value: float | None


@dataclass(frozen=True)
class Look:
    """A measurement on test rows."""

    number: int
    time: str
    scores: dict[str, float | None]


@dataclass(frozen=True)
class Findings:
    """All of a study."""

    name: str
    facts: dict[str, Any]
    rounds: list[Round]
    trials: list[Trial]
    splits: list[SplitScore]
    final: list[FinalValue]
    looks: list[Look]

    @property
    def metric(self) -> str:
        """What trials were compared by."""
        return str(self.facts.get("scored_by", "score"))

    @property
    def larger_is_better(self) -> bool:
        """Whether a score is better the larger it is."""
        return larger_is_better(self.metric)

    def cost(self, score: float | None) -> float:
        """Smaller is better."""
        if score is None:
            return math.inf
        return -score if self.larger_is_better else score

    @cached_property
    def ranking(self) -> list[Trial]:
        """Trials with a score, the best one first: who came further, then the score there."""

        def rank(trial: Trial) -> tuple[float, ...]:
            loss = trial.rungs[-1].loss
            cost = self.cost(trial.score)
            return -len(trial.rungs), cost, math.inf if loss is None else loss, trial.number

        scored = [t for t in self.trials if t.score is not None and t.status != "failed"]
        return sorted(scored, key=rank)

    @cached_property
    def finished(self) -> list[Trial]:
        """Those that came as far as the best one."""
        return [t for t in self.ranking if len(t.rungs) == len(self.ranking[0].rungs)]

    @property
    def names(self) -> list[str]:
        """The settings, in the order of the space."""
        given = [name for found in self.rounds[:1] for name in found.ranges]
        return list(dict.fromkeys([*given, *(name for t in self.trials for name in t.settings)]))

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended in which way."""
        found = collections.Counter(trial.status for trial in self.trials)
        return {status: found[status] for status in ("done", "abandoned", "failed", "running")}

    @property
    def seconds(self) -> float:
        """From the start to the last score."""
        return max((t.rungs[-1].seconds for t in self.trials if t.rungs), default=0.0)

    @property
    def averaged(self) -> list[int]:
        """The trials whose settings make the final model together."""
        return _as(list[int], self.facts.get("averaged")) or []

    @property
    def flattery(self) -> float | None:
        """By how much the best score may flatter."""
        rows = _as(int, self.facts.get("validation_rows")) or 0
        if rows < 1 or not self.ranking:
            return None
        score = self.ranking[0].score or 0.0
        return flattery(self.metric, score, rows, len(self.ranking))


def _as(kind: type[Any], value: Any) -> Any:
    """The value if it is of that kind; otherwise None: facts may be anything."""
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(value, kind)
    return None


def read(path: str | os.PathLike[str]) -> Findings:
    """The findings of the study at `path`; a `FileError` if there is none, or it is damaged."""
    file = check_readable(path).resolve()
    with named("read", path), file.open("rb") as opened:
        expect_header(path, opened.read(HEADER))
    # A study that nobody has open needs no locks: SQLite would leave files beside it.
    way = "mode=ro" if Path(f"{file}-wal").exists() else "mode=ro&immutable=1"
    with (
        told(path),
        contextlib.closing(sqlite3.connect(f"{file.as_uri()}?{way}", uri=True)) as db,
    ):
        db.row_factory = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
        db.execute("BEGIN")  # one state of it, whatever a search writes meanwhile
        _check(db, path)
        return _findings(db, file.name)


def _check(db: sqlite3.Connection, path: object) -> None:
    application = db.execute("PRAGMA application_id").fetchone()["application_id"]
    version = db.execute("PRAGMA user_version").fetchone()["user_version"]
    expect_study(path, application, version)
    if db.execute("PRAGMA quick_check").fetchone()["quick_check"] != "ok":
        raise sqlite3.DatabaseError("its pages do not fit together")


def _findings(db: sqlite3.Connection, name: str) -> Findings:
    rungs: dict[int, list[Rung]] = collections.defaultdict(list)
    offset = last = 0.0
    for rung in _rows(db, Rung, "SELECT * FROM rungs ORDER BY rowid"):
        if rung.seconds < last:  # the clock of a search that was resumed begins at 0
            offset += last
        last = rung.seconds
        rungs[rung.trial].append(dataclasses.replace(rung, seconds=rung.seconds + offset))
    trials = _rows(db, Trial, "SELECT * FROM trials ORDER BY number", "settings")
    rounds = _rows(db, Round, "SELECT * FROM rounds ORDER BY number", "space", "reasons")
    facts = _rows(db, dict[str, Any], "SELECT key, value FROM study", "value")
    for found in rounds:
        found.ranges.update({key: _range(plain) for key, plain in found.space.items()})
    return Findings(
        name,
        {fact["key"]: fact["value"] for fact in facts},
        rounds,
        [dataclasses.replace(t, rungs=tuple(rungs[t.number])) for t in trials],
        _rows(db, SplitScore, "SELECT * FROM splits ORDER BY trial, split"),
        _rows(db, FinalValue, "SELECT * FROM final ORDER BY epoch"),
        _rows(db, Look, "SELECT * FROM looks ORDER BY number", "scores"),
    )


def _rows(db: sqlite3.Connection, kind: type[Any], query: str, *json: str) -> list[Any]:
    """Rows as objects of that class, checked; the columns in `json` are decoded."""
    return [
        msgspec.convert(row | {key: _decoded(row.get(key)) for key in json}, kind)
        for row in db.execute(query)
    ]


def _decoded(text: Any) -> Any:
    return msgspec.json.decode(msgspec.convert(text, str))


def _range(plain: Any) -> Range:
    """From a parameter of the space as the study has it; empty for a kind that is not known."""
    match plain:
        case {"kind": "When", "name": str(name), "values": [*values], "parameter": parameter}:
            words = " or ".join(map(str, values))
            return dataclasses.replace(_range(parameter), condition=f"{name} is {words}")
        case {"kind": "Choice", "options": [*options]}:
            return Range(options=tuple(msgspec.convert(options, list[Value])))
        case {"low": float() | int() as low, "high": float() | int() as high}:
            log = plain.get("kind") == "LogUniform" or plain.get("log") is True
            return Range(low=low, high=high, log=log and 0 < low < high)
    return Range()
