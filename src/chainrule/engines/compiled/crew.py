"""Threads that run one program together."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

WORK_A_THREAD = 1.5e6
"""Operations of a step that make it worth to wake a thread for: about 30 µs of them."""


class Crew:
    """As many threads as asked for, or as there are processors; fewer for less work."""

    def __init__(self, threads: int | None) -> None:
        self._asked = threads
        self._pool: ThreadPoolExecutor | None = None

    def size_for(self, work: float) -> int:
        """How many threads to share that many operations a step."""
        if self._asked is not None:
            return self._asked
        return max(1, min(processors(), int(work / WORK_A_THREAD)))

    def run(self, calls: Sequence[Callable[[], int]], abandon: Callable[[], None]) -> int:
        """Run all at once, the first one in this thread; its result.

        Should not all of them come to run, `abandon` lets the others go.
        """
        others = calls[1:]
        if others and self._pool is None:
            self._pool = ThreadPoolExecutor(
                max(processors(), self._asked or 1), thread_name_prefix="chainrule"
            )
        futures: list[Future[int]] = []
        try:
            for call in others:
                assert self._pool is not None
                futures.append(self._pool.submit(call))
            result = calls[0]()
            for future in futures:
                future.result()
        except BaseException:
            abandon()
            # What they work on must outlive their last look at it.
            wait([future for future in futures if not future.cancel()])
            raise
        return result


def processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
