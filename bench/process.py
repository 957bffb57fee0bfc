"""Contestants in processes of their own, asked for an epoch at a time."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from .contestants import CONTESTANTS, CannotDo
from .workloads import Workload

CACHES = ("CHAINRULE_CACHE", "TORCHINDUCTOR_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")
"""Variables that name folders of compiled code, so that each can be empty at first."""


REST = 0.3
"""Seconds: OpenMP's threads look for work that long before they sleep."""


class Failed(Exception):
    """What a process said before it ended."""


@contextmanager
def kept(w: Workload) -> Iterator[Path]:
    """A folder with the rows of a workload, read by everybody, and caches that are empty."""
    with tempfile.TemporaryDirectory() as name:
        X, y = w.data()
        np.save(f"{name}/X.npy", X)
        np.save(f"{name}/y.npy", y)
        yield Path(name)


class Process:
    """A process that trains for an epoch when asked; once this is made, the first is done."""

    def __init__(self, who: str, w: Workload, folder: Path) -> None:
        environment = os.environ | {
            name: str(folder / name / re.sub(r"\W+", "-", who)) for name in CACHES
        }
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        if threads := CONTESTANTS[who].threads:
            environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        self.complaints: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- till `end`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", who, json.dumps(asdict(w)), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            text=True,
            env=environment,
        )
        ready = self._answer()
        if reason := ready.get("cannot"):
            self.end()
            raise CannotDo(reason)
        self.first: float = ready["first"]
        self.seconds: list[float] = []
        self.megabytes = 0.0

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.complaints.seek(0)
            raise Failed(_error(self.complaints.read()) or f"status {self.process.returncode}")
        return dict(json.loads(line))

    def turn(self) -> None:
        """Train for some epochs, once the threads of whoever was before have come to rest."""
        assert self.process.stdin is not None
        time.sleep(REST)
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.seconds += answer["seconds"]
        self.megabytes = answer["megabytes"]

    def end(self) -> None:
        """Let the process go."""
        self.process.communicate()
        self.complaints.close()


def _error(said: str) -> str:
    """The last line of a traceback that names an error."""
    lines = said.strip().splitlines() or [""]
    return next((line for line in reversed(lines) if re.match(r"[\w.]+: ", line)), lines[-1])
