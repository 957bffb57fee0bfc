"""Progress on standard error: a line an epoch, and on a terminal a bar for the time left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from . import loop
    from .trainer import Trainer

WIDTH = 10


class Bar:
    """A bar on a terminal, and lines above it; nothing where all is quiet."""

    def __init__(self, quiet: bool, *columns: ProgressColumn, **texts: Any) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._bar = Progress(
            *columns,
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, **texts)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line among the others."""
        self.console.print(text, markup=False, soft_wrap=True)


class EpochTable(Bar):
    """Shows an epoch's row when it ends, and where training is within it."""

    def __init__(self, quiet: bool) -> None:
        super().__init__(
            quiet,
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            epoch="",
            speed="",
        )
        self._columns: list[str] = []

    def step(self, progress: loop.Progress) -> None:
        """Move the bar; the whole of it is all epochs."""
        steps = progress.steps
        self._bar.update(
            self._task,
            total=progress.epochs * steps,
            completed=(progress.epoch - 1) * steps + progress.step,
            epoch=f"{progress.epoch}/{progress.epochs}",
            speed=f"{progress.rows_a_second:,.0f} rows/s",
        )

    def epoch(self, trainer: Trainer, row: dict[str, float]) -> None:
        """Print an epoch's row, with 4 decimals."""
        if not self._columns:
            self._columns = list(row)
            names = "".join(f"{name.replace('_', ' '):>{WIDTH + 3}}" for name in row)
            self.console.print(f"[bold]{'epoch':>6}{names}[/bold]", soft_wrap=True)
        values = "".join(f"{row[name]:>{WIDTH + 3}.4f}" for name in self._columns)
        self.console.print(f"{trainer.history.epochs:>6}{values}", soft_wrap=True)
