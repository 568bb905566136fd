"""What a job that trains does: runs that wait, group after group, each in its folder."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from saltus.errors import SaltusError
from saltus.provenance import describe_provenance
from saltus.specs import RunSpec
from saltus.storage.files import HeldError
from saltus.tasks.build import read_facts
from saltus.train.folder import RunFolder
from saltus.train.measures import Measure, list_measures

if TYPE_CHECKING:
    from saltus.engines.base import Outcome
    from saltus.engines.local import Machine


_TOLD = 20
"""Times that the progress of all runs is told, for which all their folders are read."""


@dataclass(frozen=True)
class TrainJob:
    """Runs to train on one device, in folders under `out`."""

    specs: Sequence[RunSpec]
    out: Path
    device: str
    processes: int
    measures: Sequence[Measure]
    alone: bool
    """Whether an error is raised instead of told as the outcome."""
    remote: bool
    """Whether an engine has started the process that does it, which then waits for folders that are held."""

    @property
    def names(self) -> list[str]:
        """Of the runs."""
        return [spec.name for spec in self.specs]

    def perform(self, console: Console) -> "Outcome":
        """Train what is not finished."""
        # Imported late: listing and reporting must not wait for torch.
        import torch

        from saltus.engines.base import PATIENCE, Outcome, await_free
        from saltus.engines.local import open_machine
        from saltus.studies.status import summarise_progress

        waiting = list(map(_Waiting, self.specs, RunFolder.of_all(self.out, self.specs)))
        with open_machine(torch.device(self.device), self.processes, own=self.remote) as machine:
            sweep = _Sweep(machine, self, console)
            waiting = [each for each in waiting if not each.folder.covers(each.spec)]
            every = max(1, len(waiting) // _TOLD)
            while waiting:
                if self.remote and not await_free([each.folder.path for each in waiting], PATIENCE):
                    sweep.left += [each.folder for each in waiting]
                    break
                group = _choose_group(waiting, machine)
                sweep.train(group, alone=self.alone)
                done = [each for each in group if each in sweep.dropped or each.folder.covers(each.spec)]
                before, waiting = len(waiting), [each for each in waiting if each not in done]
                if waiting and len(waiting) // every < before // every and not self.remote:
                    told = summarise_progress(self.specs, self.out, self.device)
                    console.print(told, markup=False, highlight=False)
        return Outcome(sweep.failed, [folder.path for folder in sweep.left])


@dataclass(frozen=True)
class _Waiting:
    """A run that is not finished, or not for so many seeds and steps, and its folder."""

    spec: RunSpec
    folder: RunFolder

    def find_behind(self) -> tuple[int, tuple[int, ...]]:
        """The seeds to train next, and the step that they stand at: `saltus.train.loop.find_behind`."""
        from saltus.train.loop import find_behind

        return find_behind(self.folder, self.spec)


def _choose_group(waiting: Sequence[_Waiting], machine: "Machine") -> list[_Waiting]:
    """The first run that waits and others that can be trained with it: of its shape, at the same checkpoint.

    Runs that need one of those that wait have their turn after it.
    """
    unfinished = {each.folder.path.name for each in waiting}
    waiting = [each for each in waiting if unfinished.isdisjoint(each.spec.needs)]
    first = next((each for each in waiting if not each.folder.held), waiting[0])
    start, seeds = first.find_behind()
    alike, counts = [first], [len(seeds)]
    for each in waiting:
        if machine.suffices([each.spec for each in alike], counts):
            break
        known = any(each.folder.path == other.folder.path for other in alike)  # for other seeds or steps
        if known or each.spec.shape != first.spec.shape or each.folder.held:
            continue
        its_start, seeds = each.find_behind()
        if its_start == start and seeds:
            alike, counts = [*alike, each], [*counts, len(seeds)]
    return alike[: machine.choose([each.spec for each in alike], counts)]


@dataclass
class _Sweep:
    """Trains one group of runs after the other, and remembers what did not succeed."""

    machine: "Machine"
    job: TrainJob
    console: Console
    failed: dict[str, str] = field(default_factory=dict)
    """By the name of a run, why it failed."""
    left: list[RunFolder] = field(default_factory=list)
    """To another process."""
    dropped: list[_Waiting] = field(default_factory=list)
    """All that failed or was left."""

    def train(self, group: Sequence[_Waiting], *, alone: bool) -> None:
        """Train a group; of one that fails each run on its own. What fails is recorded, and raised if `alone`."""
        try:
            self._train_together(group)
        except HeldError:
            held = [each for each in group if each.folder.held]
            self.left += [each.folder for each in held]
            self.dropped += held
            self._train_apart([each for each in group if each not in held], len(group))
        except Exception as error:
            if len(group) == 1:
                self._record(group[0], error)
            if alone:
                raise
            if len(group) == 1:
                name = group[0].spec.name
                self.console.print(Text(f"{name} failed: {self.failed[name]}"), soft_wrap=True)
            self._train_apart(group, len(group))

    def _train_apart(self, group: Sequence[_Waiting], before: int) -> None:
        """Each run of what was a larger group, whichever of them it was that failed or was held."""
        if before == 1:
            return
        for each in group:
            if not each.folder.covers(each.spec):
                self.train([each], alone=False)

    def _record(self, each: _Waiting, error: Exception) -> None:
        from saltus.engines.base import tell

        reason = self.failed[each.spec.name] = tell(error)
        self.dropped.append(each)
        with suppress(SaltusError):  # on a full disk there is no room for this either
            each.folder.fail(reason)

    def _train_together(self, group: Sequence[_Waiting]) -> None:
        """Train the seeds of each run that have furthest to go; a run of which no seed is behind is finished."""
        from saltus.report.terminal.training import LiveView
        from saltus.train.concerns import find_unknown_floor
        from saltus.train.ensemble import Member
        from saltus.train.loop import Job, check_checkpoints, train

        started = time.monotonic()

        def finish(run: int) -> None:
            # Runs that are trained together share the time by their seeds.
            job = jobs[run]
            share = len(job.seeds) / len(members)
            self._finish(job.folder, job.spec, (time.monotonic() - started) * share)

        with ExitStack() as stack:
            jobs: list[Job] = []
            starts: set[int] = set()
            for each in group:
                facts = read_facts(each.spec)
                if concern := find_unknown_floor(each.spec.name, facts):
                    self.console.print(Text(f"note: {concern}"), soft_wrap=True)
                stack.enter_context(each.folder.training(each.spec, facts))
                start, seeds = each.find_behind()
                if not seeds:  # a kill, or damage, has cost the summary alone
                    check_checkpoints(each.folder, each.spec)
                    self._finish(each.folder, each.spec, 0.0)
                elif starts <= {start}:  # those that another process has trained meanwhile have another turn
                    starts.add(start)
                    measures = list_measures(each.spec, self.job.measures)
                    jobs.append(Job(each.spec, each.folder, facts, seeds, measures))
            if not jobs:
                return
            members = [Member(run, seed) for run, job in enumerate(jobs) for seed in job.seeds]
            specs = [job.spec for job in jobs]
            trainer = self.machine.open(specs, members, group[0].folder.path.parent)
            view = stack.enter_context(LiveView(specs, self.console))
            train(jobs, trainer, view, finish)

    def _finish(self, folder: RunFolder, spec: RunSpec, seconds: float) -> None:
        """Finish a run unless some of its seeds are still behind."""
        if _Waiting(spec, folder).find_behind()[1]:
            return
        before = folder.summary() if folder.finished else {}
        last = [checkpoint.step for checkpoint in folder.newest().values()] or folder.records().last_steps.values()
        summary = {
            "device": self.job.device,
            "processes": self.job.processes if self.job.device == "cpu" else 1,
            "asked": folder.ask(spec),
            "last_step": max(last),
            "seed_steps": sum(last),
            "seconds": seconds + float(before.get("seconds") or 0.0),
        }
        folder.finish(summary | describe_provenance("torch"))
