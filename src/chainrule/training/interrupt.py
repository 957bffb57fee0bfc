"""Ctrl-C as a question that training asks between steps, so that no step is cut in two."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""Ctrl-C, `kill`, and a closed terminal; Windows has no SIGHUP."""


def told_to_end(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM or SIGHUP like Ctrl-C, also in a job whose SIGINT is ignored."""
    raise KeyboardInterrupt


class Interrupt:
    """While it is entered, a first Ctrl-C sets `asked`; a second Ctrl-C raises as usual.

    SIGTERM and SIGHUP set `asked` where `told_to_end` handles them, and never raise: when a session
    ends, the shell and the kernel each send a SIGHUP.

    Outside the main thread, or where the host handles a signal itself, it changes nothing. Within
    another `Interrupt` it takes the signals, and gives them back at its exit.
    """

    def __init__(self) -> None:
        self.asked = False
        self._found: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._take(number)
        return self

    def _take(self, number: int) -> None:
        found = signal.getsignal(number)
        outer = getattr(found, "__self__", None)
        if not callable(found):  # ignored, or left to the system
            return
        is_usual = found in (signal.default_int_handler, told_to_end)
        if is_usual or isinstance(outer, Interrupt):
            self._found[number] = found
            signal.signal(number, self._ask)
        if isinstance(outer, Interrupt):  # last: until the line above the outer one was told
            self.asked |= outer.asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        for number, found in self._found.items():
            signal.signal(number, found)
