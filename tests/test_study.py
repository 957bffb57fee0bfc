"""What is opened as a study, what is refused, and that nothing of others is changed."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

import chainrule as cr
from chainrule.report import findings
from chainrule.search.study import Study


def other_database(path, statements="", mode="delete"):
    """A database that another application has closed."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA journal_mode={mode}")
    db.executescript(statements)
    db.close()


def killed_database(path):
    """Another application's database, whose last change is in its log alone."""
    db = sqlite3.connect(path.with_name("live"))
    db.executescript(
        "PRAGMA journal_mode=WAL; CREATE TABLE other (x); INSERT INTO other VALUES (1)"
    )
    for end in ("", "-wal"):
        shutil.copy(path.with_name("live" + end), path.with_name(path.name + end))
    db.close()
    for left in path.parent.glob("live*"):
        left.unlink()


NO_STUDIES = {
    "one byte": lambda path: path.write_bytes(b"\n"),
    "text": lambda path: path.write_bytes(b"notes\n"),
    "a header cut short": lambda path: path.write_bytes(b"SQLite format 3\0\x10\0"),
    "an empty database": lambda path: other_database(path, "VACUUM"),
    "an empty database with a log": lambda path: other_database(path, mode="wal"),
    "an empty database of another": lambda path: other_database(path, "PRAGMA application_id=7"),
    "a database": lambda path: other_database(path, "CREATE TABLE other (x)"),
    "a database of another": lambda path: other_database(
        path, "CREATE TABLE other (x); PRAGMA application_id=7; PRAGMA user_version=1"
    ),
    "a killed database": killed_database,
}


@pytest.mark.parametrize("kind", NO_STUDIES)
def test_what_is_no_study_is_left_as_it_is(tmp_path, kind):
    path = tmp_path / "study.db"
    NO_STUDIES[kind](path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert before["study.db"]
    with pytest.raises(cr.FileError, match=r"study\.db: (damaged or no study|a database, but no )"):
        Study(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    with pytest.raises(cr.FileError, match=r"study\.db: (damaged or no study|a database, but no )"):
        findings.read(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_study_that_is_broken_is_left_as_it_is(tmp_path):
    path = tmp_path / "study.db"
    Study(path).close()
    other_database(path, "")  # not in the mode that a study is written in
    whole = path.read_bytes()
    assert whole[18:20] == b"\1\1"
    broken = whole[:-4096] + bytes(range(256)) * 16  # a table's page
    path.write_bytes(broken)
    with pytest.raises(cr.FileError, match=r"study\.db: damaged or no study: "):
        Study(path)
    assert path.read_bytes() == broken
    assert os.listdir(tmp_path) == ["study.db"]
    path.write_bytes(whole)
    Study(path).close()


BEGIN = """
import os, signal, sqlite3, sys
from chainrule.search import study

class Killed(sqlite3.Connection):
    def executescript(self, script):
        return super().executescript(script.replace("COMMIT", {end!r}))

def connect(path, **settings):
    db = Killed(path, **settings)
    db.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    db.execute("PRAGMA cache_size=1")  # so that pages reach the disk before the end
    return db

study.sqlite3.connect = connect
opened = study.Study({path!r})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
@pytest.mark.parametrize("end", ["SELECT die()", "COMMIT"])
def test_a_study_killed_in_its_first_moment_is_begun(tmp_path, end):
    path = tmp_path / "study.db"
    script = BEGIN.format(path=str(path), end=end)
    child = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, check=False)
    assert (child.returncode, child.stderr) == (-signal.SIGKILL, b"")
    assert path.read_bytes()[68:72] == b"chr1"
    if end != "COMMIT":
        with pytest.raises(cr.FileError, match="a study that has not begun: nothing is in it"):
            findings.read(path)
    study = Study(path)
    assert study.facts() is None
    study.note(seed=1)
    study.close()
    assert findings.read(path).facts == {"seed": 1}


def test_an_empty_file_is_a_new_study(tmp_path):
    path = tmp_path / "study.db"
    path.touch()
    Study(path).close()
    assert path.read_bytes()[:16] == b"SQLite format 3\0"
    assert findings.read(path).trials == []
