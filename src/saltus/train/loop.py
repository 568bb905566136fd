"""Train runs of one shape together, from wherever they stand to their ends, measuring and saving on schedule."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.tasks.base import TaskFacts
from saltus.train.ensemble import Member, SeedState
from saltus.train.evaluation import Evaluation, TrainLoss
from saltus.train.folder import RunFolder
from saltus.train.measures import MEASURES, Evaluated, Measure
from saltus.train.records import Snapshots, join_snapshots
from saltus.train.schedule import list_steps

CHUNK = 20
"""Steps between two reports of progress. It has no influence on the numbers."""


class Trainer(Protocol):
    """Seeds of runs that are trained together, in this process or in others."""

    def advance(self, step: int) -> dict[Member, TrainLoss]:
        """Train every seed until `step` updates are done; what its batches cost on the way."""
        ...

    def evaluate(self) -> dict[Member, Evaluation]:
        """Measure every seed."""
        ...

    def influence(self, run: int) -> dict[Member, NDArray[np.float32]]:
        """[query, key] how far each token moves each prediction, for the seeds of `run`."""
        ...

    def state(self) -> dict[Member, SeedState]:
        """Everything that is needed to go on from here, for each seed."""
        ...

    def load(self, step: int, states: Mapping[Member, SeedState]) -> None:
        """Go on from `states`, taken after `step` updates."""
        ...

    def retire(self, run: int) -> None:
        """Train the seeds of `run` no further; they leave every result."""
        ...


class Listener(Protocol):
    """Somebody who watches."""

    def resumed(self, step: int) -> None:
        """Training goes on from checkpoints at `step`."""
        ...

    def advanced(self, step: int) -> None:
        """Every seed has done `step` updates."""
        ...

    def evaluated(self, run: int, step: int, progress: NDArray[np.float64]) -> None:
        """An evaluation of a run gave `progress`, [seed, unit]."""
        ...


@dataclass(frozen=True)
class Job:
    """A run and the folder that it is saved in, which is held for writing."""

    spec: RunSpec
    folder: RunFolder
    facts: TaskFacts
    measures: Sequence[Measure] = MEASURES
    """What is recorded of every evaluation."""


def train(jobs: Sequence[Job], trainer: Trainer, listener: Listener, finish: Callable[[int, int], None]) -> None:
    """Train runs of one shape that stand at the same checkpoint, each to its last step, or until all its units are
    solved where it asks for that.

    `finish` is called with a run's place and its last step as soon as it is done. What is saved after a kill and a
    resumption equals what an unbroken run saves, whatever the run was trained with.
    """
    training = jobs[0].spec.training
    measured = training.influence or (training.patterns and jobs[0].spec.model.attention_heads > 0)
    snapshots = set(list_steps(training.snapshot, training.steps)) if measured else set[int]()
    checkpoints = set(list_steps(training.checkpoint, training.steps))
    # What is snapshot or saved is evaluated too.
    evaluations = sorted({*list_steps(training.evaluate, training.steps), *snapshots, *checkpoints})
    active = {run: _Progress(job) for run, job in enumerate(jobs)}
    start = _resume(jobs, checkpoints, trainer, listener)

    def end(run: int, step: int) -> None:
        trainer.retire(run)
        del active[run]
        finish(run, step)

    for run in [run for run, progress in active.items() if progress.solved or start == training.steps]:
        end(run, start)
    for step in (step for step in evaluations if step > start):
        if not active:
            return
        train_losses = _advance(trainer, max(start, 0), step, listener)
        evaluated = trainer.evaluate()
        states: dict[Member, SeedState] = {}
        for run, progress in list(active.items()):
            members = [Member(run, seed) for seed in range(jobs[run].spec.seeds)]
            measures = [evaluated[m] for m in members]
            solved = progress.add(step, measures, [train_losses[m] for m in members])
            listener.evaluated(run, step, progress.latest)
            if step in snapshots or (solved and measured):
                influence = trainer.influence(run) if training.influence else {}
                progress.add_snapshot(step, measures, [influence[m] for m in members if influence])
            if step in checkpoints or solved:
                states = states or trainer.state()
                progress.commit(step, [states[m] for m in members])
            if solved or step == training.steps:
                end(run, step)
        start = step


def find_start(folder: RunFolder) -> int:
    """The step from which a run goes on: that of its newest checkpoint, or -1."""
    return max(folder.checkpoint_steps(), default=-1)


def _resume(jobs: Sequence[Job], checkpoints: set[int], trainer: Trainer, listener: Listener) -> int:
    """Load the newest checkpoints; their step, or -1."""
    start = find_start(jobs[0].folder)
    states: dict[Member, SeedState] = {}
    for run, job in enumerate(jobs):
        folder = job.folder
        if checkpoint := folder.latest():
            if lost := sorted({step for step in checkpoints if step <= start} - set(folder.checkpoint_steps())):
                raise SaltusError(
                    f"{folder.path}: the checkpoint of step {lost[0]} is gone, and what was measured before it; "
                    f"put it back, or move {folder.path} away and run the same command again: it starts anew"
                )
            states |= {Member(run, seed): state for seed, state in enumerate(checkpoint.states)}
    if states:
        trainer.load(start, states)
        listener.resumed(start)
    return start


def _advance(trainer: Trainer, start: int, stop: int, listener: Listener) -> dict[Member, TrainLoss]:
    """Train from `start` to `stop` in chunks; what the batches of each seed cost on the way."""
    losses: dict[Member, TrainLoss] = {}
    for step in [*range(start + CHUNK, stop, CHUNK), stop]:
        for member, loss in trainer.advance(step).items():
            losses[member] = losses[member].join(loss) if member in losses else loss
        listener.advanced(step)
    return losses


class _Progress:
    """One run on its way: rows and snapshots since the last checkpoint, and whether it is solved."""

    def __init__(self, job: Job) -> None:
        self._spec, self._folder = job.spec, job.folder
        self._facts, self._measures = job.facts, job.measures
        self._held: deque[bool] = deque(maxlen=job.spec.emergence.hold)
        self._clear()
        if job.folder.checkpoint_steps():
            before = job.folder.records().cube("units", "progress")  # [seed, evaluation, unit]
            self._held.extend(self._is_solved(at_step) for at_step in np.moveaxis(before, 1, 0))

    @property
    def solved(self) -> bool:
        """Whether the run may stop here."""
        whole = len(self._held) == self._held.maxlen and all(self._held)
        return self._spec.training.stop_when_solved and whole

    def add(self, step: int, measured: Sequence[Evaluation], train_losses: Sequence[TrainLoss]) -> bool:
        """Take in an evaluation of every seed, and what its batches since the last one cost; is the run solved?"""
        evaluated = Evaluated(step, self._facts, measured, train_losses)
        for measure in self._measures:
            self._tables[measure.name].append(measure.tabulate(evaluated))
        self.latest = self._facts.progress(self._facts.mean_by_unit(np.stack([e.loss for e in measured])))
        self._held.append(self._is_solved(self.latest))
        # Checkpoints may be denser than snapshots: the axes are kept where there is none.
        seeds, (layers, heads, queries, keys) = len(measured), measured[0].pattern.shape
        self._empty = Snapshots(
            np.zeros(0, np.int64),
            np.zeros((0, seeds, layers, heads, int(self._facts.scored.sum()), keys), np.float16),
            np.zeros((0, seeds, queries, keys), np.float32),
        )
        return self.solved

    def add_snapshot(self, step: int, measured: Sequence[Evaluation], influence: Sequence[NDArray[np.float32]]) -> None:
        """Keep what every seed looks at at a step that was evaluated; `influence` [seed] where it was asked for."""
        attention = np.stack([e.pattern[:, :, self._facts.scored] for e in measured]).astype(np.float16)
        moved = np.stack(influence)[None] if influence else self._empty.influence
        self._snapshots.append(Snapshots(np.array([step]), attention[None], moved))

    def commit(self, step: int, states: Sequence[SeedState]) -> None:
        """Save everything since the checkpoint before."""
        tables = {name: pa.concat_tables(parts) for name, parts in self._tables.items()}
        self._folder.commit(step, states, tables, join_snapshots([self._empty, *self._snapshots]))
        self._clear()

    def _is_solved(self, progress: NDArray[np.float64]) -> bool:
        return bool((progress >= self._spec.emergence.threshold).all())

    def _clear(self) -> None:
        self._tables: dict[str, list[pa.Table]] = {measure.name: [] for measure in self._measures}
        self._snapshots: list[Snapshots] = []
