"""Train a run from wherever it stands to its end, measuring and saving on schedule."""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.records import TABLES, Patterns
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.store import RunFolder
from saltus.tasks.base import TaskFacts
from saltus.tasks.build import build_task
from saltus.train.ensemble import SeedState
from saltus.train.evaluate import Evaluation
from saltus.train.measures import tabulate
from saltus.train.schedule import list_steps

CHUNK = 20
"""Steps between two reports of progress. It has no influence on the numbers."""


class Trainer(Protocol):
    """Seeds that are trained together, in this process or in others."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the order of every result."""
        ...

    def advance(self, step: int) -> NDArray[np.float64]:
        """Train every seed until `step` updates are done; [seed] the sum of the batches' losses on the way."""
        ...

    def evaluate(self) -> list[Evaluation]:
        """Measure every seed."""
        ...

    def state(self) -> list[SeedState]:
        """Everything that is needed to go on from here, for each seed."""
        ...

    def load(self, step: int, states: Sequence[SeedState]) -> None:
        """Go on from `states`, taken after `step` updates."""
        ...


class Listener(Protocol):
    """Somebody who watches."""

    def resumed(self, step: int) -> None:
        """Training goes on from a checkpoint at `step`."""
        ...

    def advanced(self, step: int) -> None:
        """Every seed has done `step` updates."""
        ...

    def evaluated(self, step: int, progress: NDArray[np.float64]) -> None:
        """An evaluation gave `progress`, [seed, unit]."""
        ...


def train(spec: RunSpec, folder: RunFolder, trainer: Trainer, listener: Listener) -> int:
    """Train until the last step, or until every seed has solved every unit where the run asks for that.

    Returns the last step. What is saved after a kill and a resumption equals what an unbroken run saves.
    """
    training = spec.training
    facts = build_task(spec.task, Streams(spec.master_seed).generator("task")).facts
    snapshots = set(list_steps(training.snapshot, training.steps))
    checkpoints = set(list_steps(training.checkpoint, training.steps))
    # What is snapshot or saved is evaluated too.
    evaluations = sorted({*list_steps(training.evaluate, training.steps), *snapshots, *checkpoints})
    pending = _Pending(facts)
    solved: deque[bool] = deque(maxlen=spec.emergence.hold)
    start = -1
    if checkpoint := folder.latest():
        start = checkpoint.step
        if lost := sorted({step for step in checkpoints if step <= start} - set(folder.checkpoint_steps())):
            raise SaltusError(
                f"{folder.path}: the checkpoint of step {lost[0]} is gone, and what was measured before it; "
                f"put it back, or delete {folder.path} and run the same command again: it starts anew"
            )
        trainer.load(start, checkpoint.states)
        solved.extend(_solved_so_far(spec, folder))
        listener.resumed(start)
    if training.stop_when_solved and _all_held(solved):
        return start
    for step in (step for step in evaluations if step > start):
        train_loss = _advance(trainer, max(start, 0), step, listener)
        measured = trainer.evaluate()
        tables = tabulate(step, trainer.seeds, measured, train_loss, facts)
        pending.add(step, tables, measured, snapshot=step in snapshots)
        progress = tables["units"]["progress"].to_numpy().reshape(len(trainer.seeds), -1)
        listener.evaluated(step, progress)
        solved.append(bool((progress >= spec.emergence.threshold).all()))
        stop = training.stop_when_solved and _all_held(solved)
        if step in checkpoints or stop:
            folder.commit(step, trainer.state(), *pending.take())
        start = step
        if stop:
            break
    return start


def _advance(trainer: Trainer, start: int, stop: int, listener: Listener) -> NDArray[np.float64]:
    """Train from `start` to `stop` in chunks; the mean training loss of each seed on the way."""
    total = np.zeros(len(trainer.seeds))
    for step in [*range(start + CHUNK, stop, CHUNK), stop]:
        total += trainer.advance(step)
        listener.advanced(step)
    return total / (stop - start) if stop > start else np.full(len(trainer.seeds), np.nan)


def _solved_so_far(spec: RunSpec, folder: RunFolder) -> list[bool]:
    """For each evaluation that is on disk, whether every seed was above the threshold on every unit."""
    progress = folder.records().cube("units", "progress")  # [seed, evaluation, unit]
    return [bool((at_step >= spec.emergence.threshold).all()) for at_step in np.moveaxis(progress, 1, 0)]


def _all_held(solved: deque[bool]) -> bool:
    return len(solved) == solved.maxlen and all(solved)


class _Pending:
    """Rows and snapshots since the last checkpoint."""

    def __init__(self, facts: TaskFacts) -> None:
        self._scored = facts.scored
        self._tables: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
        self._steps: list[int] = []
        self._patterns: list[NDArray[np.float16]] = []

    def add(self, step: int, tables: dict[str, pa.Table], measured: Sequence[Evaluation], *, snapshot: bool) -> None:
        for name, table in tables.items():
            self._tables[name].append(table)
        pattern = np.stack([e.pattern[:, :, self._scored] for e in measured])  # [seed, layer, head, scored query, key]
        self._shape = pattern.shape
        if snapshot:
            self._steps.append(step)
            self._patterns.append(pattern.astype(np.float16))

    def take(self) -> tuple[dict[str, pa.Table], Patterns]:
        tables = {name: pa.concat_tables(parts) for name, parts in self._tables.items()}
        # Checkpoints may be denser than snapshots: the axes are kept where there is none.
        patterns = np.array(self._patterns, dtype=np.float16).reshape(-1, *self._shape)
        taken = tables, Patterns(np.array(self._steps, dtype=np.int64), patterns)
        self._tables = {name: [] for name in TABLES}
        self._steps, self._patterns = [], []
        return taken
