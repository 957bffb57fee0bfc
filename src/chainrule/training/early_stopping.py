"""Early stopping."""

from ..errors import InputError
from ..limits import Count, NotNegative
from ..spec import Spec


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
        gain = value - best if self.monitor.endswith("accuracy") else best - value
        return gain > self.min_delta

    def value(self, row: dict[str, float]) -> float:
        """What is monitored, of an epoch."""
        if self.monitor not in row:
            known = ", ".join(row)
            hint = ": give validation_data" if self.monitor.startswith("val_") else ""
            raise InputError(f"EarlyStopping: monitor is {self.monitor!r}, there is {known}{hint}")
        return row[self.monitor]
