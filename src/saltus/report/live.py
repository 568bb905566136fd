"""What a person sees while a run trains: a live display on a terminal, plain lines anywhere else."""

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from saltus.report.display import Display
from saltus.specs import RunSpec

SHOWN_SEEDS = 16
"""Seeds that get a line of their own; more would push the progress line off the screen."""

_LEVELS = " ▁▂▃▄▅▆▇█"


class LiveView(Display):
    """Watches one run; a listener of the training loop."""

    def __init__(self, spec: RunSpec, console: Console) -> None:
        super().__init__(console, "steps", remaining=True)
        self._spec = spec
        waiting = f"{spec.name}: preparing" + (
            " (compiling takes about a minute once)" if spec.training.compile else ""
        )
        self._task = self._bar.add_task(waiting, total=spec.training.steps)
        self._next_line = 0
        if not self._live:
            self._say(waiting)

    def resumed(self, step: int) -> None:
        """Training goes on from a checkpoint at `step`."""
        self._bar.update(self._task, completed=step)
        self._say(f"{self._spec.name}: resumed at step {step}")

    def advanced(self, step: int) -> None:
        """Every seed has done `step` updates."""
        self._bar.update(self._task, completed=step, description=self._spec.name)

    def evaluated(self, step: int, progress: NDArray[np.float64]) -> None:
        """An evaluation gave `progress`, [seed, unit]."""
        learnt = (progress >= self._spec.emergence.threshold).sum(1)
        units = progress.shape[1]
        if self._live:
            self._live.update(Group(_draw_seeds(progress, learnt), self._bar))
        elif step >= self._next_line:
            total = self._spec.training.steps
            self._say(
                f"{self._spec.name}: step {step}/{total}, units learnt by seed (of {units}): "
                + " ".join(str(n) for n in learnt)
            )
            self._next_line = step + max(1, total // 20)


def _draw_seeds(progress: NDArray[np.float64], learnt: NDArray[np.int64]) -> Table:
    """A line for each seed: one block for each unit, as high as its progress."""
    table = Table.grid(padding=(0, 2))
    for seed, row in enumerate(progress[:SHOWN_SEEDS]):
        levels = np.clip(row * (len(_LEVELS) - 1), 0, len(_LEVELS) - 1).astype(int)
        blocks = Text("".join(_LEVELS[level] for level in levels), style="cyan")
        table.add_row(f"seed {seed}", blocks, f"{learnt[seed]} of {len(row)}")
    if len(progress) > SHOWN_SEEDS:
        table.add_row("…", "", f"and {len(progress) - SHOWN_SEEDS} more seeds")
    return table
