"""What a person sees while a pocket suite trains: live bars on a terminal, plain lines anywhere else."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as LeftColumn

from saltus.lm.specs import PocketSpec
from saltus.lm.suites.base import Run

LINES = 20
"""Lines about the progress of a whole suite, where there is no terminal."""


class PocketView:
    """Watches a suite; a listener of its training."""

    def __init__(self, spec: PocketSpec, console: Console) -> None:
        self._spec, self._console = spec, console
        self._runs = len(spec.models) * spec.seeds
        self._total = self._runs * spec.steps
        self._steps: dict[Run, int] = {}
        self._ended = 0
        self._line = 0
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            LeftColumn(),
            console=console,
        )
        preparing = f"{spec.name}: preparing {self._runs} runs"
        self._whole = self._bars.add_task(preparing, total=self._total)
        self._tasks: dict[Run, TaskID] = {}
        self._live = Live(self._bars, console=console, refresh_per_second=4) if console.is_terminal else None
        if not self._live:
            self._print(preparing)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def started(self, run: Run, step: int) -> None:
        """A run begins, or goes on from the checkpoint at `step`."""
        self._tasks[run] = self._bars.add_task(str(run), total=self._spec.steps, completed=step)
        self._steps[run] = step
        if 0 < step < self._spec.steps:
            self._print(f"{self._spec.name}: {run} resumed at step {step}")
        self._count(f"{run} at step {step}")

    def advanced(self, run: Run, step: int, loss: float) -> None:
        """A run has done `step` updates, lately with this training loss, in nats a token."""
        self._bars.update(self._tasks[run], completed=step, description=f"{run}: loss {loss:.3f}")
        self._steps[run] = step
        self._count(f"{run} at step {step}, loss {loss:.3f}")

    def finished(self, run: Run) -> None:
        """A run has saved its last checkpoint."""
        self._bars.remove_task(self._tasks.pop(run))
        self._ended += 1
        self._count(f"{run} finished")

    def _count(self, latest: str) -> None:
        """Say how far the suite is, each time that a further share of it is done."""
        done = sum(self._steps.values())
        name = f"{self._spec.name}: {self._ended} of {self._runs} runs"
        self._bars.update(self._whole, completed=done, description=name)
        if not self._live and (line := done * LINES // self._total) > self._line:
            self._print(f"{name}, {done * 100 // self._total}% of the steps; {latest}")
            self._line = line

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
