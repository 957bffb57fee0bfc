"""Warnings about input that is valid and most likely not meant; each names the way out."""

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType


class Advice(UserWarning):
    """Valid input with a result that hardly anybody wants: bytes that nothing rescales, say."""


_here = threading.local()


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Give no advice in this thread: a search gives it once, not in each trial."""
    before, _here.unheard = not is_heard(), True
    try:
        yield
    finally:
        _here.unheard = before


def is_heard() -> bool:
    """Whether this thread gives advice."""
    return not getattr(_here, "unheard", False)


def advise(text: str, category: type[Warning] = Advice) -> None:
    """Warn at the user's line, the first one outside of this package. Python shows a warning
    once a line."""
    if not is_heard():
        return
    frame, depth = sys._getframe(), 1
    while frame.f_back is not None and is_ours(frame):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, category, stacklevel=depth)


def is_ours(frame: FrameType) -> bool:
    """Whether a call is of this package, by its module: a constructor that dataclasses made has no
    file."""
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == __package__
