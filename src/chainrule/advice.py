"""Warnings about input that is valid and most likely not meant; each names the way out."""

import sys
import warnings
from pathlib import Path


class Advice(UserWarning):
    """Valid input with a result that hardly anybody wants: bytes that nothing rescales, say."""


PACKAGE = str(Path(__file__).parent)


def advise(text: str) -> None:
    """Warn at the user's line, the first one outside of this package. Python shows a warning
    once a line."""
    frame, depth = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, Advice, stacklevel=depth)
