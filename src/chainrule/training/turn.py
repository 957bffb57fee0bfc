"""Whose turn it is to train."""

import os
import threading

from ..errors import InputError


class Turn:
    """One `fit` at a time: a second one is refused, in this thread or another.

    A fork copies a trainer whose thread does not come along: there nobody trains it.
    """

    def __init__(self) -> None:
        self._lock, self._process, self._thread = threading.Lock(), os.getpid(), 0

    @property
    def is_anothers(self) -> bool:
        """Whether another thread trains."""
        self._after_fork()
        return self._lock.locked() and self._thread != threading.get_ident()

    def _after_fork(self) -> None:
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()

    def __enter__(self) -> None:
        self._after_fork()
        if not self._lock.acquire(blocking=False):
            raise InputError(
                "fit: this trainer is being trained already: end that first, or train a copy, "
                "copy.deepcopy(trainer)"
            )
        self._thread = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
