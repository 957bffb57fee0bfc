"""Searches killed at a random moment, then resumed: each must end as if it had not been."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from safetensors.numpy import load_file

COMMAND = ("search", "digits", "--trials", "15", "--epochs", "9", "--threads", "2", "--quiet")
TABLES = {
    "trials": "SELECT * FROM trials ORDER BY number",
    "rungs": "SELECT trial, rung, epochs, score, loss FROM rungs ORDER BY trial, rung",
    "rounds": "SELECT * FROM rounds ORDER BY number",
    "splits": "SELECT * FROM splits ORDER BY trial, split",
    "final": "SELECT epoch, metric, value FROM final WHERE metric != 'seconds' ORDER BY 1, 2",
}


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """The search, at the command line."""
    files = ("--study", str(folder / "study.db"), "--out", str(folder / "model"))
    return subprocess.Popen(
        [sys.executable, "-m", "chainrule", *COMMAND, *files, *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, list[tuple[object, ...]]]]:
    """The final model's arrays, and all that the study tells but times."""
    with sqlite3.connect(folder / "study.db") as study:
        tables = {name: study.execute(query).fetchall() for name, query in TABLES.items()}
    study.close()
    return load_file(folder / "model"), tables


def is_begun(folder: Path) -> bool:
    """Whether a killed search came so far as to leave a study."""
    if not (folder / "study.db").exists():
        return False
    study = sqlite3.connect(folder / "study.db")
    try:
        tables = study.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return bool(tables and study.execute("SELECT count(*) FROM study").fetchone()[0])
    finally:
        study.close()


def complete(folder: Path, *more: str) -> None:
    """Search to the end."""
    with start(folder, *more) as process:
        _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the search ended with status {process.returncode}: {said}")


def differences(folder: Path, expected: Path) -> list[str]:
    """What a search ended with that another did not."""
    (arrays, tables), (other_arrays, other_tables) = outcome(folder), outcome(expected)
    found = [name for name in TABLES if tables[name] != other_tables[name]]
    same = arrays.keys() == other_arrays.keys() and all(
        np.array_equal(arrays[name], other_arrays[name]) for name in arrays
    )
    return found if same else [*found, "model"]


def run(console: Console, times: int) -> dict[str, float]:
    """Kill and resume so many searches; tell how many ended otherwise than one left alone."""
    draw, killed, begun, wrong = random.Random(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        whole.mkdir()
        began = time.monotonic()
        complete(whole)
        seconds = time.monotonic() - began
        for attempt in range(times):
            folder = Path(name) / str(attempt)
            folder.mkdir()
            with start(folder) as process:
                time.sleep(draw.uniform(0.1, 1.0) * seconds)
                process.kill()
            killed += process.returncode < 0
            resumed = is_begun(folder)
            begun += resumed
            complete(folder, *(["--resume"] if resumed else []))
            if found := differences(folder, whole):
                wrong += 1
                console.print(f"  kill {attempt}: other {', '.join(found)}", style="red")
    console.print(
        f"{times} searches: {killed} killed before their end, {begun} resumed, {wrong} ended "
        f"otherwise than one that was left alone"
    )
    return {"times": times, "killed": killed, "resumed": begun, "wrong": wrong}
