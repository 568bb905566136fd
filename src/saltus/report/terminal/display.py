"""A bar that lives on a terminal, and lines anywhere else: what all views of something at work have in common."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Display:
    """Shown from entry to exit, if the console is a terminal."""

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
        self._live = Live(self._bar, console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def _say(self, text: str) -> None:
        """Leave a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
