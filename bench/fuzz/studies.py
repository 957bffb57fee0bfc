"""Studies: other bytes, or other values in the cells of the tables."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from .kind import Kind, Wrong, command
from .mutations import VALUES, of_bytes, of_values, shown

NAME = "study.db"
CELLS: tuple[Any, ...] = (
    None, 0, 1, -1, 2, 11, 12, 10**6, 2**31, 2**63 - 1, -(2**63), 0.5, -0.5, 1e308, -1e308, 1e999,
    -1e999, "", "word", "{}", "[]", "null", "NaN", "done", "failed", "abandoned", "running", "\x00",
    b"", b"\xff\xfe", "[" * 3_000, "x" * 10_000,
)  # fmt: skip


def search() -> Any:
    """The search that every input goes on with."""
    from chainrule import Trainer, nn, optim
    from chainrule.search import Choice, Integer, LogUniform, Search, When

    def build(settings: dict[str, Any]) -> Trainer:
        width = settings["width"]
        act = nn.ReLU() if settings["act"] == "relu" else nn.LeakyReLU(settings["slope"])
        net = nn.Sequential(nn.Affine(3, width), act, nn.Affine(width, 2))
        rule = optim.Adam(settings["lr"])
        return Trainer(net, nn.SoftmaxCrossEntropy(), rule, engine="reference")

    space = {
        "lr": LogUniform(1e-3, 1e0),
        "width": Integer(2, 8, log=True),
        "act": Choice(["relu", "leaky"]),
        "slope": When("act", ["leaky"], LogUniform(0.01, 0.3)),
    }
    return Search(build, space, trials=12, epochs=3, batch_size=20, study=NAME, threads=1,
                  round_size=5)  # fmt: skip


def rows() -> tuple[np.ndarray, np.ndarray]:
    """60 rows of two classes."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    return X, (X[:, 0] > 0).astype(int)


class Studies(Kind):
    """`Search.run(resume=True)`, and the command `report`, of a study."""

    count = 1_000

    def prepare(self, base: Path) -> None:
        """Search once; a second study ends before its time."""
        with contextlib.chdir(base):
            search().run(*rows()).close()
            db = sqlite3.connect(NAME)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA journal_mode=DELETE")
            db.close()
        data = (base / NAME).read_bytes()
        (base / "cut.db").write_bytes(data)
        with contextlib.closing(sqlite3.connect(base / "cut.db")) as db, db:
            db.execute("DELETE FROM trials WHERE number > 7")
            db.execute("DELETE FROM rungs WHERE trial > 6")
            for table in ("splits", "final", "looks"):
                db.execute(f"DELETE FROM {table}")

    def make(self, number: int, random: Random, base: Path, folder: Path) -> str:
        """A study with other bytes, or one to three other cells."""
        which = random.choice((base / NAME, base / "cut.db"))
        data = which.read_bytes()
        path = folder / NAME
        if random.random() < 0.25:
            data, told = of_bytes(data, random, head=120)
            path.write_bytes(data)
            return f"{which.stem}: {told}"
        path.write_bytes(data)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            told = "; ".join(self._changed(db, random) for _ in range(random.choice((1, 1, 2, 3))))
        return f"{which.stem}: {told}"

    def _changed(self, db: sqlite3.Connection, random: Random) -> str:
        """Change a cell, a row, a column, a table, or a mark of the file."""
        tables = [
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        if not tables:
            return "no table"
        table = random.choice(tables)
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        column = random.choice(columns)
        cells = db.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
        what = random.choice(("cell",) * 10 + ("row", "rows", "table", "column", "mark", "more"))
        with contextlib.suppress(sqlite3.Error):  # a constraint of the table forbids some
            if what == "row" and cells:
                db.execute(f"DELETE FROM {table} WHERE rowid = ?", random.choice(cells)[:1])
            elif what == "rows":
                db.execute(f"DELETE FROM {table}")
            elif what == "table":
                db.execute(f"DROP TABLE {table}")
            elif what == "column":
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
                return f"{table}.{column} dropped"
            elif what == "mark":
                mark = random.choice(("user_version", "application_id"))
                value = random.choice((0, 1, 2, -1, 2**31 - 1))
                db.execute(f"PRAGMA {mark} = {value}")
                return f"{mark} = {value}"
            elif what == "more" and cells:
                value = random.choice(CELLS)
                old = ", ".join(f"(SELECT {c} FROM {table} LIMIT 1)" if c != column else "?"
                                for c in columns)  # fmt: skip
                db.execute(f"INSERT INTO {table} VALUES ({old})", (value,))
                return f"a row of {table} with {column} = {shown(value)}"
            elif cells:
                rowid, cell = random.choice(cells)
                value, how = self._cell(cell, random)
                db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, rowid))
                return f"{table}.{column} of row {rowid}: {how}"
        return f"{table}: {what}"

    def _cell(self, cell: Any, random: Random) -> tuple[Any, str]:
        """Another value; of JSON mostly the same but for one value within it."""
        if isinstance(cell, str) and random.random() < 0.6:
            with contextlib.suppress(ValueError):
                value, how = of_values(json.loads(cell), random, VALUES)
                return json.dumps(value), how
        value = random.choice(CELLS)
        return value, f"{shown(cell)} → {shown(value)}"

    def run(self, folder: Path, random: Random) -> bool:
        """Read it, then go on with it."""
        before = Path(NAME).read_bytes()
        if random.random() < 0.5:
            command("report", NAME, "--out", "page.html", *random.choice(([], ["--json"])))
            if Path(NAME).read_bytes() != before:
                raise Wrong("report changes the study")
        result = search().run(*rows(), resume=True)
        result.close()
        return True

    def may_change(self, name: str) -> bool:
        """The study, and the page of `report`."""
        return name == "page.html" or name.startswith(NAME)
