"""Locks that a forked process can take.

`fork` copies a lock as it is and one thread alone: a lock that another thread holds stays held for
ever in the child. A forking thread therefore takes all locks of this module first.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Any

_locks: list[threading.RLock] = []
_taken: list[threading.RLock] = []
"""By the thread that forks; the first of `_locks` guards it."""


def fork_safe_lock() -> threading.RLock:
    """A lock of a module. A thread that holds one may take those of modules imported earlier.

    It is reentrant, since a signal handler may fork where its thread holds it.
    """
    lock = threading.RLock()
    _locks.append(lock)
    return lock


def _take_all() -> None:
    """The newest first, which is the order in which threads nest them.

    While this thread waits, another one may import a module that makes a lock.
    """
    _take(_one_fork_at_a_time)
    while left := [lock for lock in _locks if lock not in _taken]:
        _take(left[-1])


def _take(lock: threading.RLock) -> None:
    lock.acquire()
    _taken.append(lock)


def _release_all() -> None:
    while _taken:
        _taken.pop().release()


_one_fork_at_a_time = fork_safe_lock()
_computing = fork_safe_lock()
"""Held while a property is computed, which takes no other of these locks."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take_all, after_in_parent=_release_all, after_in_child=_release_all)


if TYPE_CHECKING:
    from functools import cached_property as cached_property
else:

    class cached_property(functools.cached_property):
        """`functools.cached_property`, computed by one thread at a time.

        All threads must get the same leaves of a graph. Python 3.12 has no lock for it. The lock of
        3.11 stays held in a child process if its parent forks meanwhile.
        """

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            with _computing:
                return super().__get__(instance, owner)
