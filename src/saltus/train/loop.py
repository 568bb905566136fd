"""Train seeds of runs of one shape together, from where they stand to their ends, measuring and saving on schedule."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.tasks.base import TaskFacts
from saltus.train.ensemble import Member
from saltus.train.evaluation import Evaluation, TrainLoss
from saltus.train.folder import RunFolder
from saltus.train.measures import MEASURES, Evaluated, Measure
from saltus.train.records import SnapshotRows, join_snapshots
from saltus.train.state import SeedState, split_state

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

    def retire(self, members: Collection[Member]) -> None:
        """Train these no further; they leave every result."""
        ...


class Listener(Protocol):
    """Somebody who watches."""

    def resumed(self, step: int) -> None:
        """Training goes on from checkpoints at `step`."""
        ...

    def advanced(self, step: int) -> None:
        """Every seed has done `step` updates."""
        ...

    def evaluated(self, run: int, step: int, progress: Mapping[int, NDArray[np.float64]]) -> None:
        """An evaluation of a run gave `progress`, by seed [unit]; seeds that have stopped are not among them."""
        ...


@dataclass(frozen=True)
class Job:
    """Seeds of a run that stand at the same step, and the folder that they are saved in, which is held for writing."""

    spec: RunSpec
    folder: RunFolder
    facts: TaskFacts
    seeds: tuple[int, ...]
    measures: Sequence[Measure] = MEASURES
    """What is recorded of every evaluation."""


def find_behind(folder: RunFolder, spec: RunSpec) -> tuple[int, tuple[int, ...]]:
    """The seeds of a run that have furthest to go, and the step that they stand at, -1 before the first.

    There is no seed once all have reached the last step or have stopped by themselves.
    """
    asked, newest, steps = folder.asked(), folder.newest(), spec.training.steps
    behind: dict[int, int] = {}
    # Rows of checkpoints that are gone may be in the records.
    known = range(len(asked)) if folder.gathered else newest
    for seed in range(spec.seeds):
        done = seed in known and seed < len(asked) and asked[seed] >= steps
        if not done and seed not in newest:
            behind[seed] = -1
        elif not done and not newest[seed].stopped and newest[seed].step < steps:
            behind[seed] = newest[seed].step
    start = min(behind.values(), default=steps)
    return start, tuple(seed for seed, step in behind.items() if step == start)


def check_checkpoints(folder: RunFolder, spec: RunSpec) -> None:
    """Raise a SaltusError if a checkpoint is gone that was made on the way: its rows would be missing in silence."""
    for seed, newest in folder.newest().items():
        *regular, _ = spec.training.checkpoint.list_steps(newest.step + 1)
        if lost := sorted(set(regular) - set(folder.checkpoint_steps(seed))):
            raise SaltusError(
                f"{folder.path}: the checkpoint of step {lost[0]} is gone, and what was measured before it; "
                f"put it back, or move {folder.path} away and run the same command again: it starts anew"
            )


def train(jobs: Sequence[Job], trainer: Trainer, listener: Listener, finish: Callable[[int], None]) -> None:
    """Train seeds of runs of one shape that stand at the same step, each to the last step, or until all its units are
    solved where its run asks for that.

    `finish` is called with a job's place as soon as its seeds are done. What is saved of a seed is the same whatever it
    was trained with, however often it was killed and resumed, and whether all steps were asked for at once.
    """
    training = jobs[0].spec.training
    measured = training.influence or (training.patterns and jobs[0].spec.model.attention_heads > 0)
    snapshots = set(training.snapshot.list_steps(training.steps)) if measured else set[int]()
    checkpoints = set(training.checkpoint.list_steps(training.steps))
    # What is snapshot or saved is evaluated too.
    evaluations = sorted({*training.evaluate.list_steps(training.steps), *snapshots, *checkpoints})
    active = {run: _Progress(job) for run, job in enumerate(jobs)}
    start = _resume(jobs, trainer, listener)
    for step in (step for step in evaluations if step > start):
        if not active:
            return
        train_losses = _advance(trainer, max(start, 0), step, listener)
        evaluated = trainer.evaluate()
        states: dict[Member, SeedState] = {}
        for run, progress in list(active.items()):
            members = {seed: Member(run, seed) for seed in progress.active}
            measures = {seed: evaluated[member] for seed, member in members.items()}
            solved = progress.add(step, measures, {seed: train_losses[member] for seed, member in members.items()})
            listener.evaluated(run, step, progress.latest)
            shown = members.keys() if step in snapshots else solved if measured else ()
            if shown:
                moved = trainer.influence(run) if training.influence else {}
                influence = {seed: moved[members[seed]] for seed in shown if moved}
                progress.add_snapshots(step, {seed: measures[seed] for seed in shown}, influence)
            if saved := members.keys() if step in checkpoints else solved:
                states = states or trainer.state()
                progress.commit(step, {seed: states[members[seed]] for seed in saved}, solved)
            ended = set(members) if step == training.steps else solved
            trainer.retire([members[seed] for seed in ended])
            progress.active -= ended
            if not progress.active:
                del active[run]
                finish(run)
        start = step


def _resume(jobs: Sequence[Job], trainer: Trainer, listener: Listener) -> int:
    """Load the newest checkpoints; their step, or -1."""
    start, _ = find_behind(jobs[0].folder, jobs[0].spec)
    if start < 0:
        return start
    states: dict[Member, SeedState] = {}
    for run, job in enumerate(jobs):
        check_checkpoints(job.folder, job.spec)
        states |= {Member(run, seed): state for seed, state in job.folder.load(job.seeds).items()}
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
    """The seeds of a job on their way: what was measured since their checkpoints, and which of them are solved."""

    def __init__(self, job: Job) -> None:
        self._spec, self._folder = job.spec, job.folder
        self._facts, self._measures = job.facts, job.measures
        self.active = set(job.seeds)
        self._held: dict[int, deque[bool]] = {seed: deque(maxlen=job.spec.emergence.hold) for seed in job.seeds}
        self._tables: dict[str, list[pa.Table]] = {measure.name: [] for measure in self._measures}
        self._snapshots: list[SnapshotRows] = []
        if job.folder.newest().keys() & self.active:
            for curve in job.folder.committed(job.spec).curves.wholes:
                if (seed := int(curve.key.seed)) in self.active:
                    self._held[seed].extend(self._is_solved(curve.values[:, None]))

    def add(
        self, step: int, measured: Mapping[int, Evaluation], train_losses: Mapping[int, TrainLoss]
    ) -> AbstractSet[int]:
        """Take in an evaluation of every active seed, and what its batches since the last one cost.

        Returns the seeds that are solved, where the run asks to stop them.
        """
        seeds, evaluations = tuple(measured), tuple(measured.values())
        evaluated = Evaluated(step, self._facts, seeds, evaluations, tuple(train_losses[seed] for seed in seeds))
        for measure in self._measures:
            self._tables[measure.name].append(measure.tabulate(evaluated))
        progress = self._facts.progress(self._facts.mean_by_unit(np.stack([e.loss for e in evaluations])))
        self.latest = dict(zip(seeds, progress, strict=True))
        for seed, solved in zip(seeds, self._is_solved(progress), strict=True):
            self._held[seed].append(solved)
        # Checkpoints may be denser than snapshots: the axes are kept where there is none.
        self._empty = self._take(step, {seeds[0]: evaluations[0]}, {}).keep(np.zeros(0, np.int64))
        if not self._spec.training.stop_when_solved:
            return set()
        return {seed for seed in seeds if len(held := self._held[seed]) == held.maxlen and all(held)}

    def add_snapshots(
        self, step: int, measured: Mapping[int, Evaluation], influence: Mapping[int, NDArray[np.float32]]
    ) -> None:
        """Keep what seeds look at at a step that was evaluated; `influence` where it was asked for."""
        self._snapshots.append(self._take(step, measured, influence))

    def commit(self, step: int, states: Mapping[int, SeedState], stopped: Collection[int]) -> None:
        """Save everything that these seeds did since their checkpoints before."""
        seeds = list(states)
        tables = {name: pa.concat_tables(parts) for name, parts in self._tables.items()}
        kept = join_snapshots([self._empty, *self._snapshots])
        ours, own = pc.field("seed").isin(seeds), np.isin(kept.seeds, seeds)
        going = {seed: split_state(state)[0] if seed in stopped else state for seed, state in states.items()}
        chosen = {name: table.filter(ours) for name, table in tables.items()}
        self._folder.commit(step, going, chosen, kept.keep(own))
        self._tables = {name: [table.filter(~ours)] for name, table in tables.items()}
        self._snapshots = [kept.keep(~own)]

    def _take(
        self, step: int, measured: Mapping[int, Evaluation], influence: Mapping[int, NDArray[np.float32]]
    ) -> SnapshotRows:
        attention = np.stack([e.pattern[:, :, self._facts.scored] for e in measured.values()]).astype(np.float16)
        queries = self._facts.queries
        moved = np.stack([influence[seed] for seed in measured]) if influence else np.zeros((0, queries, queries))
        seeds = np.array(list(measured))
        return SnapshotRows(np.full(len(seeds), step), seeds, attention, moved.astype(np.float32))

    def _is_solved(self, progress: NDArray[np.float64]) -> list[bool]:
        """Of progress [..., unit]."""
        return np.atleast_1d((progress >= self._spec.emergence.threshold).all(-1)).tolist()
