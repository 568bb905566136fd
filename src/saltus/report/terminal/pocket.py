"""What a person sees of a pocket suite: while it trains live bars on a terminal, plain lines anywhere else; a table."""

from rich.console import Console
from rich.progress import TaskID
from rich.table import Table
from rich.text import Text

from saltus.lm.pocket.folder import PocketRecords
from saltus.lm.suites.base import Run
from saltus.report.pocket.section import say_progress
from saltus.report.terminal.display import Display
from saltus.specs.pocket import PocketSpec

LINES = 20
"""Lines about the progress of a whole suite, where there is no terminal."""


def tabulate_pocket(records: PocketRecords) -> Table:
    """A line for each size and seed: the step of its newest checkpoint."""
    table = Table("size", "seed", "newest checkpoint", "of", title=Text(say_progress(records)))
    for run, step in records.steps.items():
        table.add_row(run.size, run.seed, "" if step is None else f"{step:,}", f"{records.spec.steps:,}")
    return table


class PocketView(Display):
    """Watches a suite; a listener of its training."""

    def __init__(self, spec: PocketSpec, console: Console) -> None:
        super().__init__(console, "steps", remaining=True)
        self._spec = spec
        self._runs = len(spec.models) * spec.seeds
        self._total = self._runs * spec.steps
        self._steps: dict[Run, int] = {}
        self._ended = 0
        self._line = 0
        preparing = f"{spec.name}: preparing {self._runs} runs"
        self._whole = self._bar.add_task(preparing, total=self._total)
        self._tasks: dict[Run, TaskID] = {}
        if not self._live:
            self._say(preparing)

    def started(self, run: Run, step: int) -> None:
        """A run begins, or goes on from the checkpoint at `step`."""
        self._tasks[run] = self._bar.add_task(str(run), total=self._spec.steps, completed=step)
        self._steps[run] = step
        if 0 < step < self._spec.steps:
            self._say(f"{self._spec.name}: {run} resumed at step {step}")
        self._count(f"{run} at step {step}")

    def advanced(self, run: Run, step: int, loss: float) -> None:
        """A run has done `step` updates, lately with this training loss, in nats a token."""
        self._move(self._tasks[run], completed=step, description=f"{run}: loss {loss:.3f}")
        self._steps[run] = step
        self._count(f"{run} at step {step}, loss {loss:.3f}")

    def finished(self, run: Run) -> None:
        """A run has saved its last checkpoint."""
        self._bar.remove_task(self._tasks.pop(run))
        self._ended += 1
        self._count(f"{run} finished")

    def _count(self, latest: str) -> None:
        """Say how far the suite is, each time that a further share of it is done."""
        done = sum(self._steps.values())
        name = f"{self._spec.name}: {self._ended} of {self._runs} runs"
        self._move(self._whole, completed=done, description=name)
        if not self._live and (line := done * LINES // self._total) > self._line:
            self._say(f"{name}, {done * 100 // self._total}% of the steps; {latest}")
            self._line = line
