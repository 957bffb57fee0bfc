"""Threads that run one program together."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...advice import advise

WORK_A_THREAD = 1.5e6
"""Operations of a step that make it worth to wake a thread for: about 30 µs of them."""


class Crew:
    """As many threads as asked for, or as there are processors; fewer for less work."""

    def __init__(self, threads: int | None) -> None:
        self._asked = None if threads is None else at_most_processors(threads)
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def size_for(self, work: float) -> int:
        """How many threads to share that many operations a step."""
        if self._asked is not None:
            return self._asked
        return max(1, min(processors(), int(work / WORK_A_THREAD)))

    def run(self, calls: Sequence[Callable[[], None]], abandon: Callable[[], None]) -> None:
        """Run all at once, the first one in this thread.

        Should not all of them come to run, `abandon` lets the others go.
        """
        if len(calls) == 1:
            return calls[0]()
        pool = self._threads()
        try:
            futures = [pool.submit(call) for call in calls[1:]]
            calls[0]()
            for future in futures:
                future.result()
        except BaseException:
            abandon()
            self._pool = None
            _end(pool)
            raise

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._process != os.getpid():  # no thread survives a fork
            self._pool, self._process = _pool(max(processors(), self._asked or 1)), os.getpid()
        return self._pool


def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="chainrule")


def _end(pool: ThreadPoolExecutor) -> None:
    """Wait for all calls, also for those that came without a future: their memory goes next."""
    ended = False
    while not ended:
        with contextlib.suppress(KeyboardInterrupt):
            pool.shutdown(wait=True, cancel_futures=True)
            ended = True


def processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_warned = threading.Event()


def at_most_processors(threads: int) -> int:
    """That many threads, or one for each processor, with a warning once in a process.

    Threads of a crew wait for each other at each step: 64 of them on 2 processors take 12 times as
    long as one.
    """
    most = processors()
    if threads > most and not _warned.is_set():
        _warned.set()
        advise(
            f"threads={threads} is more than the processors of this process, {most}: {most} "
            "threads are used",
            RuntimeWarning,
        )
    return min(threads, most)
