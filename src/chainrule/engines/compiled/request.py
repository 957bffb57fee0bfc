"""What the driver is given: numbers, and the addresses of arrays that live as long."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Sequence

import numpy as np

from ...graph.tensor import Array
from .assemble import address
from .crew import Crew
from .driver_code import ABANDONED, FIELDS, LINE, MEETING
from .thread_memory import ThreadMemory

DRIVER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
BRIEF = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
"""The same with Python's lock held: to give it away and wait for it costs more than a short run."""
PLACES = {name: i for i, name in enumerate(FIELDS)}


class Request:
    """The driver's fields, at first those of another request; what is set stays until it is set
    again."""

    def __init__(self, like: Request | None = None) -> None:
        self._fields: Array = (
            np.zeros(len(FIELDS), np.int64) if like is None else like._fields.copy()
        )
        self._held: dict[str, Array] = {} if like is None else dict(like._held)
        self.unlocked_seconds = 0.0
        """Of a processor, in machine code without Python's lock."""

    def set(self, **values: int | Array) -> None:
        """Numbers, and arrays for their addresses; a list's length goes with it."""
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                self._held[name] = value
                self._fields[PLACES[name]] = value.ctypes.data
                if f"n_{name}" in PLACES:
                    self._fields[PLACES[f"n_{name}"]] = len(value)
            else:
                self._fields[PLACES[name]] = value

    @property
    def done(self) -> int:
        """How many steps the last run did, whatever became of it."""
        return int(self._held["meeting"][LINE * MEETING.index("done")])

    def run(self, crew: Crew, own: Sequence[ThreadMemory], brief: bool) -> None:
        """Call the driver in as many threads as memory of their own is given for."""
        meeting, threads = self._held["meeting"], len(own)
        self.set(threads=threads)
        fields = np.repeat(self._fields[None], threads, axis=0)
        fields[:, PLACES["thread"]] = np.arange(threads)
        fields[:, PLACES["own_slots"]] = [memory.own_slots.ctypes.data for memory in own]
        fields[:, PLACES["windows"]] = [memory.windows.ctypes.data for memory in own]
        locked = brief and threads == 1
        call = (BRIEF if locked else DRIVER)(address("driver"))
        start, step = fields.ctypes.data, fields.strides[0]

        def abandon() -> None:
            meeting[LINE * MEETING.index("stopped")] = ABANDONED

        calls = [functools.partial(call, start + i * step) for i in range(threads)]
        began = time.thread_time()
        crew.run(calls, abandon)
        self.unlocked_seconds += 0.0 if locked else time.thread_time() - began


def fresh_meeting() -> Array:
    """What the threads of one run share, from the start of a line of the cache."""
    meeting = np.zeros(LINE * (len(MEETING) + 1), np.int64)
    return meeting[-meeting.ctypes.data % (8 * LINE) // 8 :]


def entries(rows: Sequence[tuple[int, ...]], width: int) -> Array:
    """A list of the driver, an entry a row."""
    return np.array(rows, np.int64).reshape(-1, width)
