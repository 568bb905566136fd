"""What a person sees while a suite is audited."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from saltus.lm.suites.base import Run

_LINES = 20
"""Lines about the progress of a whole audit, where there is no terminal."""


class AuditView:
    """Watches one audit; a listener of it."""

    def __init__(self, suite: str, checkpoints: int, console: Console) -> None:
        self._suite, self._checkpoints, self._console = suite, checkpoints, console
        self._examined = 0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("checkpoints"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task(f"audit of {suite}", total=checkpoints)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def examined(self, run: Run, step: int, reason: str | None) -> None:
        """A checkpoint has been read; `reason` says why if it is missing."""
        self._examined += 1
        self._bar.update(self._task, completed=self._examined, description=f"audit of {self._suite}: {run}")
        if reason is not None:
            self._say(f"{run} step {step} is missing: {reason}")
        elif not self._console.is_terminal and self._examined % max(1, self._checkpoints // _LINES) == 0:
            self._say(f"{self._examined} of {self._checkpoints} checkpoints, now {run}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
