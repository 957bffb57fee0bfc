"""Warnings about input that is valid and most likely not meant; each names the way out."""

import sys
import warnings


class Advice(UserWarning):
    """Valid input with a result that hardly anybody wants: bytes that nothing rescales, say."""


def advise(text: str) -> None:
    """Warn at the user's line, the first one outside of this package. Python shows a warning
    once a line."""
    frame, depth = sys._getframe(), 1
    # By the module's name: a constructor that dataclasses made has no file.
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, Advice, stacklevel=depth)


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == __package__
