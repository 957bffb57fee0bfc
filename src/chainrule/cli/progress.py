"""Progress of a search on standard error: a line a decision, and on a terminal a bar."""

from rich.progress import BarColumn, TextColumn

from ..search import runner
from ..training.epoch_table import Bar


def _left(progress: runner.Progress) -> str:
    if progress.phase != "trials":
        return progress.phase
    return "" if progress.seconds_left is None else f"{progress.seconds_left:.0f} s left"


class SearchLine(Bar):
    """Shows how many trials there have been, the best score, and each change of a range."""

    def __init__(self, quiet: bool, heading: str) -> None:
        super().__init__(
            quiet,
            TextColumn("{task.fields[counts]}"),
            BarColumn(20),
            TextColumn("{task.fields[best]}"),
            TextColumn("{task.fields[left]}"),
            counts="",
            best="",
            left="",
        )
        self._to_say = [heading]
        self._said = 0

    def update(self, progress: runner.Progress) -> None:
        """Show where the search is; say what has been decided since the last time."""
        for text in [*self._to_say, *progress.decisions[self._said :]]:
            self.say(text)
        self._to_say = []
        self._said = len(progress.decisions)
        left = progress.seconds_left
        self._bar.update(
            self._task,
            total=None if left is None else progress.seconds + left,
            completed=progress.seconds,
            counts=f"{progress.done} trained, {progress.abandoned} abandoned, "
            f"{progress.failed} failed, {progress.running} running",
            best="" if progress.best is None else f"best {progress.best:.4f}",
            left=_left(progress),
        )
