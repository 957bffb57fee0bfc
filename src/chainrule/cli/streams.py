"""Standard output and error, of which no failure ends a job before its work is kept."""

import io
import os
import sys
from typing import Any

from ..starting import open_streams


class Unheard(io.RawIOBase):
    """Passes bytes on until the first `OSError`, then drops them: the reader has gone, or the disk
    under a log is full."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self._is_heard = True

    def write(self, data: object) -> int:
        """Take all bytes, whatever becomes of them."""
        whole = len(memoryview(data))  # type: ignore[arg-type]
        if self._is_heard:
            try:
                written = self._stream.write(data)  # type: ignore[arg-type]
                return whole if written is None else written
            except OSError:
                self._is_heard = False
        return whole

    def writable(self) -> bool:
        """It is."""
        return True

    def isatty(self) -> bool:
        """Whether a terminal is behind it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor behind it."""
        return self._stream.fileno()


def prepare_streams() -> None:
    """Make sure that both streams are there, print any word, and that progress ends no job."""
    open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        # rich raises SystemExit where a pipe is broken: its streams may not fail.
        below: Any = sys.stderr.buffer
        raw = Unheard(getattr(below, "raw", below))  # with `python -u` it is raw itself
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(raw), sys.stderr.encoding, "replace", line_buffering=True
        )


def flush_output() -> OSError | None:
    """Write what standard output holds back; why it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python flushes again at its exit, and would say it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None
