"""Early stopping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..errors import InputError
from ..limits import Count, NotNegative
from ..spec import Spec
from ..words import near
from .metrics import larger_is_better

if TYPE_CHECKING:
    from .session import Session, Snapshot

VALIDATION = "val_"


class EarlyStopping(Spec):
    """Stop when `monitor` has not improved for `patience` epochs, and restore the best weights.

    An improvement is a change by more than `min_delta`: downwards, or upwards for an accuracy. A
    value that is not finite is never the best. A model that was trained before begins as the best,
    by its score on the validation rows.

    Source: "Deep Learning from Scratch", section 6.5; Prechelt 1998.
    """

    patience: Count = 10
    monitor: str = "val_loss"
    min_delta: NotNegative = 0.0

    def improved(self, value: float, best: float) -> bool:
        """Whether `value` is better than the best so far."""
        larger = larger_is_better(self.monitor.removeprefix(VALIDATION))
        return (value - best if larger else best - value) > self.min_delta

    def value(self, row: dict[str, float]) -> float:
        """The monitored value of an epoch."""
        if self.monitor not in row:
            known = ", ".join(row)
            lacks_rows = self.monitor.startswith(VALIDATION) and f"{VALIDATION}loss" not in row
            hint = ": give validation_data" if lacks_rows else near(self.monitor, row)
            raise InputError(f"EarlyStopping: monitor is {self.monitor!r}, there is {known}{hint}")
        return row[self.monitor]


class BestSoFar:
    """The best epoch by the monitored value, and the state at its end."""

    def __init__(self, stopping: EarlyStopping, epoch: int) -> None:
        """`epoch`: how many epochs the model has been trained for before."""
        self.stopping, self.epoch = stopping, epoch
        self.value = math.nan
        self.snapshot: Snapshot | None = None

    @classmethod
    def by(cls, stopping: EarlyStopping | None, epoch: int) -> BestSoFar | None:
        """One, where somebody asks for it."""
        return None if stopping is None else cls(stopping, epoch)

    def consider(self, row: dict[str, float], epoch: int, session: Session) -> None:
        """Keep the state of an epoch if it is the best so far."""
        value = self.stopping.value(row)
        first = self.snapshot is None
        if math.isfinite(value) and (first or self.stopping.improved(value, self.value)):
            self.epoch, self.value, self.snapshot = epoch, value, session.snapshot()

    def is_over(self, epoch: int) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        return epoch - self.epoch >= self.stopping.patience

    def __str__(self) -> str:
        monitor = self.stopping.monitor
        if self.snapshot is None:
            return f"{monitor} was finite in no epoch, so none is the best: the last one is kept"
        return f"{monitor} was best in epoch {self.epoch}, whose weights are restored"
