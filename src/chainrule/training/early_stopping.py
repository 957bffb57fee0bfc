"""Early stopping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import InputError
from ..limits import Count, NotNegative
from ..spec import Spec
from .metrics import larger_is_better

if TYPE_CHECKING:
    from .session import Session, Snapshot


class EarlyStopping(Spec):
    """Stop when `monitor` has not improved for `patience` epochs, and restore the best weights.

    An improvement is a change by more than `min_delta`: downwards, or upwards for an accuracy.

    Source: "Deep Learning from Scratch", section 6.5; Prechelt 1998.
    """

    patience: Count = 10
    monitor: str = "val_loss"
    min_delta: NotNegative = 0.0

    def improved(self, value: float, best: float) -> bool:
        """Whether `value` is better than the best so far."""
        larger = larger_is_better(self.monitor.removeprefix("val_"))
        return (value - best if larger else best - value) > self.min_delta

    def value(self, row: dict[str, float]) -> float:
        """What is monitored, of an epoch."""
        if self.monitor not in row:
            known = ", ".join(row)
            hint = ": give validation_data" if self.monitor.startswith("val_") else ""
            raise InputError(f"EarlyStopping: monitor is {self.monitor!r}, there is {known}{hint}")
        return row[self.monitor]


class BestSoFar:
    """The best epoch by what is monitored, and the state at its end."""

    def __init__(self, stopping: EarlyStopping) -> None:
        self.stopping = stopping
        self.epoch, self.value = 0, math.nan
        self.snapshot: Snapshot | None = None

    @property
    def monitor(self) -> str:
        """What is looked at."""
        return self.stopping.monitor

    def is_over(self, row: dict[str, float], epoch: int, session: Session) -> bool:
        """Whether it has been long enough since the best one, which may be this."""
        value = self.stopping.value(row)
        if self.snapshot is None or self.stopping.improved(value, self.value):
            self.epoch, self.value, self.snapshot = epoch, value, session.snapshot()
        return epoch - self.epoch >= self.stopping.patience
