"""A bar that lives on a terminal and in a notebook, and lines anywhere else: what views of something at work share."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from saltus.report.terminal.notebook import NotebookConsole, NotebookLive


class Display:
    """Shown from entry to exit, if the console is a terminal or a notebook."""

    def __init__(self, console: Console, unit: str, *, remaining: bool = False) -> None:
        """`unit` is what the bars count; `remaining` adds an estimate of the time left."""
        left: list[ProgressColumn] = [TextColumn("left"), TimeRemainingColumn()] if remaining else []
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            *left,
            console=console,
        )
        self._live: Live | NotebookLive | None = None
        if isinstance(console, NotebookConsole):
            self._live = NotebookLive(self._bar, console)
        elif console.is_terminal:
            self._live = Live(self._bar, console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def _move(self, task: TaskID, **values: Any) -> None:
        """Change a bar; the values are those of `rich.progress.Progress.update`."""
        self._bar.update(task, **values)
        if isinstance(self._live, NotebookLive):  # a terminal's has a thread that looks
            self._live.refresh()

    def _say(self, text: str) -> None:
        """Leave a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
