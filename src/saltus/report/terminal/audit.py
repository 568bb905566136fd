"""What a person sees while a suite is audited."""

from rich.console import Console

from saltus.lm.suites.base import Run
from saltus.report.terminal.display import Display

_LINES = 20
"""Lines about the progress of a whole audit, where there is no terminal."""


class AuditView(Display):
    """Watches one audit; a listener of it."""

    def __init__(self, suite: str, checkpoints: int, console: Console) -> None:
        super().__init__(console, "checkpoints")
        self._suite, self._checkpoints = suite, checkpoints
        self._examined = 0
        self._task = self._bar.add_task(f"audit of {suite}", total=checkpoints)

    def examined(self, run: Run, step: int, reason: str | None) -> None:
        """A checkpoint has been read; `reason` says why if it is missing."""
        self._examined += 1
        self._move(self._task, completed=self._examined, description=f"audit of {self._suite}: {run}")
        if reason is not None:
            self._say(f"{run} step {step} is missing: {reason}")
        elif not self._live and self._examined % max(1, self._checkpoints // _LINES) == 0:
            self._say(f"{self._examined} of {self._checkpoints} checkpoints, now {run}")
