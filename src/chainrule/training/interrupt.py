"""Ctrl-C as a question that training asks between steps, so that no step is cut in two."""

import signal
import threading
from types import FrameType, TracebackType


class Interrupt:
    """While it is entered, a first Ctrl-C sets `asked`; a second one raises as usual.

    Outside the main thread, or where the host handles Ctrl-C itself, it changes nothing.
    """

    def __init__(self) -> None:
        self.asked = False
        self._installed = False

    def __enter__(self) -> "Interrupt":
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._ask)
            self._installed = True
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
