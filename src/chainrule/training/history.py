"""What happened, a row an epoch."""

from collections.abc import Iterator, Mapping


class History(Mapping[str, list[float]]):
    """Columns by name ("loss", "val_accuracy", "seconds", …), a value an epoch.

    >>> history = History()
    >>> history.append({"loss": 0.5, "seconds": 0.1})
    >>> history["loss"], len(history.rows())
    ([0.5], 1)
    """

    def __init__(self, columns: Mapping[str, list[float]] | None = None, stopped: str = "") -> None:
        self._columns = {name: list(values) for name, values in (columns or {}).items()}
        self.stopped = stopped
        """Why training ended before its last epoch; empty if it did not."""
        self.interrupted = False
        """Whether it was Ctrl-C that ended it."""

    def append(self, row: Mapping[str, float]) -> None:
        """Add an epoch; a column it lacks, or has for the first time, is NaN elsewhere."""
        for name in row:
            if name not in self._columns:
                self._columns[name] = [float("nan")] * self.epochs
        for name, values in self._columns.items():
            values.append(row.get(name, float("nan")))

    @property
    def epochs(self) -> int:
        """How many epochs there are."""
        return max(map(len, self._columns.values()), default=0)

    def rows(self) -> list[dict[str, float]]:
        """The epochs as rows."""
        columns = self._columns.items()
        return [{name: values[i] for name, values in columns} for i in range(self.epochs)]

    def __getitem__(self, name: str) -> list[float]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        last = self.rows()[-1:] or [{}]
        values = ", ".join(f"{name} {value:.4g}" for name, value in last[0].items())
        return f"<History of {self.epochs} epochs: {values}>"
