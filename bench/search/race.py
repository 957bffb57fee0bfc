"""Lets a contestant search until it has reached a score, or its time is up."""

import contextlib
import math
import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

from . import target
from .jobs import JOBS, environment

POLL = 0.05


class Ended(Exception):
    """A contestant gave up before its time."""


def seconds_to_target(who: str, which: int, seed: int, limit: float, warm: bool) -> float | None:
    """Seconds since a contestant was ready; None where the time was up."""
    spawn, started = multiprocessing.get_context("spawn"), math.inf
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        extra = {} if warm else {"CHAINRULE_CACHE": f"{name}/cache"}
        with environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", **extra):
            workers = [
                spawn.Process(target=target.run, args=(who, which, seed, i, name))
                for i in range(target.CONTESTANTS[who][1])
            ]
            for worker in workers:
                worker.start()
        try:
            while True:
                time.sleep(POLL)
                if started == math.inf and (Path(name) / "scores").exists():
                    started = time.monotonic()
                late = time.monotonic() > started + limit + POLL
                told = target.read(Path(name))
                reached = [s for s, score in told if JOBS[which].reached(score) and s <= limit]
                if reached or late:
                    return min(reached, default=None)
                if not all(worker.is_alive() for worker in workers):
                    raise Ended(f"{who} ended before its time")
        finally:
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(worker.pid or 0, signal.SIGKILL)
                worker.join()
