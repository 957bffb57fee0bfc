"""What happened, a row an epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


class History(dict[str, list[float]]):
    """Columns by name ("loss", "val_accuracy", "seconds", …), a value an epoch.

    >>> history = History()
    >>> history.extend([{"loss": 0.5, "seconds": 0.1}, {"loss": 0.25, "seconds": 0.1}])
    >>> history["loss"], len(history.rows())
    ([0.5, 0.25], 2)
    """

    def __init__(self, columns: Mapping[str, list[float]] | None = None, stopped: str = "") -> None:
        super().__init__({name: list(values) for name, values in (columns or {}).items()})
        self.stopped = stopped
        """Why training ended before its last epoch; empty if it did not."""
        self.interrupted = False
        """Whether it was Ctrl-C that ended it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return History, (dict(self), self.stopped), {"interrupted": self.interrupted}

    def extend(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Add epochs; a column that one lacks, or has for the first time, is NaN elsewhere."""
        before, nan = [math.nan] * self.epochs, math.nan
        names = dict.fromkeys([*self, *(name for row in rows for name in row)])
        new = {name: [row.get(name, nan) for row in rows] for name in names}
        # In one call, so that an exception which a signal raises finds all of them or none.
        self.update({name: [*self.get(name, before), *values] for name, values in new.items()})

    @property
    def epochs(self) -> int:
        """How many epochs there are."""
        return max(map(len, self.values()), default=0)

    def rows(self) -> list[dict[str, float]]:
        """The epochs as rows."""
        return [{name: values[i] for name, values in self.items()} for i in range(self.epochs)]

    def __repr__(self) -> str:
        last = self.rows()[-1:] or [{}]
        values = ", ".join(f"{name} {value:.4g}" for name, value in last[0].items())
        return f"<History of {self.epochs} epochs: {values}>"
