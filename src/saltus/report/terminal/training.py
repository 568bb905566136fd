"""What a person sees while runs train: a live display on a terminal or in a notebook, plain lines elsewhere."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from saltus.report.terminal.display import Display
from saltus.specs import RunSpec
from saltus.train.flops import COMPILED_FROM, count_flops, is_compiled
from saltus.train.records import state_rule

SHOWN_SEEDS = 16
"""Seeds that get a line of their own; more would push the progress line off the screen."""

_LEVELS = " ▁▂▃▄▅▆▇█"


class LiveView(Display):
    """Watches runs that are trained together; a listener of the training loop."""

    def __init__(self, specs: Sequence[RunSpec], console: Console) -> None:
        super().__init__(console, "steps", remaining=True)
        self._specs = specs
        self._name = specs[0].name + (f" and {len(specs) - 1} more" if len(specs) > 1 else "")
        self._steps = specs[0].training.steps
        waiting = f"{self._name}: preparing{_tell_compilation(specs[0])}"
        self._task = self._bar.add_task(waiting, total=self._steps)
        self._next_line = dict.fromkeys(range(len(specs)), 0)
        self._progress: dict[tuple[int, int], NDArray[np.float64]] = {}
        """By run and seed, [unit]; a seed that has stopped keeps its last."""
        self._diverged: dict[int, set[int]] = {run: set() for run in range(len(specs))}
        if not self._live:
            self._say(waiting)

    def resumed(self, step: int) -> None:
        """Training goes on from checkpoints at `step`."""
        self._move(self._task, completed=step)
        for spec in self._specs:
            self._say(f"{spec.name}: resumed at step {step}")

    def advanced(self, step: int) -> None:
        """Every seed has done `step` updates."""
        self._move(self._task, completed=step, description=self._name)

    def evaluated(self, run: int, step: int, progress: Mapping[int, NDArray[np.float64]]) -> None:
        """An evaluation of a run gave `progress`, by seed [unit]."""
        self._progress |= {(run, seed): row for seed, row in progress.items()}
        spec = self._specs[run]
        gone = {seed for seed, row in progress.items() if not np.isfinite(row).all()}
        for seed in sorted(gone - self._diverged[run]):
            self._say(f"{spec.name}: seed {seed} has diverged at step {step}: its loss is not a finite number")
        self._diverged[run] |= gone
        if self._live:
            self._live.update(Group(self._draw_seeds(), self._bar))
        elif step >= self._next_line[run]:
            own = [row for (its, _), row in sorted(self._progress.items(), key=lambda item: item[0]) if its == run]
            learnt = [(row >= state_rule(spec).level).sum() for row in own]
            self._say(
                f"{spec.name}: step {step}/{self._steps}, units learnt by seed (of {len(own[0])}): "
                + " ".join(str(n) for n in learnt)
            )
            self._next_line[run] = step + max(1, self._steps // 20)

    def _draw_seeds(self) -> Table:
        """A line for each seed: one block for each unit, as high as its progress."""
        table = Table.grid(padding=(0, 2))
        lines = sorted(self._progress.items(), key=lambda item: item[0])
        for (run, seed), row in lines[:SHOWN_SEEDS]:
            row = np.nan_to_num(row, nan=0.0, posinf=0.0, neginf=0.0)  # of one that diverged
            levels = np.clip(row * (len(_LEVELS) - 1), 0, len(_LEVELS) - 1).astype(int)
            blocks = Text("".join(_LEVELS[level] for level in levels), style="cyan")
            learnt = (row >= state_rule(self._specs[run]).level).sum()
            place = f"seed {seed}" if len(self._specs) == 1 else f"{self._specs[run].name}, seed {seed}"
            table.add_row(place, blocks, f"{learnt} of {len(row)}")
        if len(lines) > SHOWN_SEEDS:
            table.add_row("…", "", f"and {len(lines) - SHOWN_SEEDS} more seeds")
        return table


def _tell_compilation(spec: RunSpec) -> str:
    """Whether the step is compiled, and why where the run left that to saltus."""
    compiled = is_compiled(spec)
    said = ["compiling takes about a minute once"] if compiled else []
    if spec.training.compile == "auto":
        work = f"a step of a seed is {count_flops(spec) / 1e9:.2g} GFLOP"
        least = f"the least that is compiled is {COMPILED_FROM / 1e9:.2g}"
        said.insert(0, f"{'compiled' if compiled else 'not compiled'}: {work}, {least}")
    return f" ({'; '.join(said)})" if said else ""
