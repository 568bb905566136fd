"""Training the runs of the synthetic half."""

import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from saltus.arguments import DEFAULT_ROOT, AnyPath
from saltus.errors import SaltusError
from saltus.extras import require_extra
from saltus.processes import count_cores
from saltus.provenance import describe_provenance
from saltus.specs import CustomTask, MixturePhase, RunSpec
from saltus.storage.files import HeldError
from saltus.tasks.build import build_task_of, read_facts
from saltus.train.folder import RunFolder
from saltus.train.measures import Measure, join_measures, list_measures

if TYPE_CHECKING:
    from saltus.engines.local import Engine

_SHOWN = 3
"""Failures that are told in full at the end of a sweep."""


@dataclass(frozen=True)
class _Waiting:
    """A run that is not finished, or not for so many seeds and steps, and its folder."""

    spec: RunSpec
    folder: RunFolder

    def find_behind(self) -> tuple[int, tuple[int, ...]]:
        """The seeds to train next, and the step that they stand at: `saltus.train.loop.find_behind`."""
        from saltus.train.loop import find_behind

        return find_behind(self.folder, self.spec)


def run(
    spec: RunSpec,
    *,
    out: AnyPath = DEFAULT_ROOT,
    device: str = "auto",
    processes: int | None = None,
    measures: Sequence[Measure] = (),
    console: Console | None = None,
) -> RunFolder:
    """Train `spec` in a folder of its own under `out`: from the start, or from where an earlier call was interrupted.

    A finished run is returned as it is. One that was finished for fewer seeds or steps takes the others alone, and ends
    as if all had been asked for at once. `device` is 'cpu', 'cuda', 'mps', or 'auto': CUDA where it is there.
    `processes` is how many train at a time on a CPU, one for each core unless it is given. `measures` are recorded
    besides `saltus.train.measures.MEASURES`.
    """
    out = Path(out)
    return run_all([spec], out=out, device=device, processes=processes, measures=measures, console=console)[0]


def run_all(
    specs: Sequence[RunSpec],
    *,
    out: AnyPath = DEFAULT_ROOT,
    device: str = "auto",
    processes: int | None = None,
    measures: Sequence[Measure] = (),
    console: Console | None = None,
) -> list[RunFolder]:
    """As `run`, for many: in their order, those of equal shape together as far as the device gains by it.

    All are checked before the first is trained. A run that fails is recorded, and the others go on. A run that another
    process is training is left to it, so that several processes may share a sweep.

    Raises:
        SaltusError: if a run cannot be trained as it is described; or at the end, if any failed.

    """
    require_extra("train", "training")
    out = Path(out)
    # Imported late: listing and reporting must not wait for torch.
    from saltus.engines.local import choose_device, open_engine
    from saltus.studies.status import summarise_progress
    from saltus.train.concerns import list_concerns

    recorded = join_measures(measures)
    console = console or Console()
    chosen = choose_device(device)
    folders: dict[str, RunFolder] = {}
    """By content: what has several names is trained once."""
    waiting: list[_Waiting] = []
    for spec in specs:
        if spec.content_hash in folders:
            continue
        folder = folders[spec.content_hash] = RunFolder.of(out, spec)
        if folder.finished:
            folder.restore(spec, read_facts(spec))
        if folder.covers(spec):
            console.print(Text(f"{folder.path} is finished already; delete it to train it again"), soft_wrap=True)
        else:
            waiting.append(_Waiting(spec, folder))
            if not folder.path.exists() and (told := _tell_shorter(out, spec)):
                console.print(Text(told), soft_wrap=True)
    if processes is not None and processes < 1:
        raise SaltusError(f"processes: {processes} was given; allowed is 1 or more")
    for each in waiting:
        check_run(each.spec, processes or count_cores())
        check_needs(each.spec, out, {folder.path.name for folder in folders.values()})
    for concern in dict.fromkeys(concern for each in waiting for concern in list_concerns(each.spec, chosen.type)):
        console.print(Text(f"note: {concern}"), soft_wrap=True)
    with open_engine(chosen, processes) as engine:
        sweep = _Sweep(engine, recorded, chosen.type, console)
        while waiting:
            group = _choose_group(waiting, engine)
            before = len(waiting)
            sweep.train(group, alone=len(specs) == 1)
            waiting = [each for each in waiting if not (each in sweep.dropped or each.folder.covers(each.spec))]
            if waiting and len(waiting) < before:
                told = summarise_progress(specs, out, chosen.type)
                console.print(told, markup=False, highlight=False)
    for folder in sweep.left:
        console.print(Text(f"{folder.path} is left to the process that trains it"), soft_wrap=True)
    if sweep.failed:
        raise SaltusError(_tell_failures(sweep.failed, len(folders)))
    return [folders[spec.content_hash] for spec in specs]


def check_run(spec: RunSpec, processes: int) -> None:
    """Raise a SaltusError, which names the run, if it cannot be trained as it is described by so many processes."""
    from saltus.models.build import build_model
    from saltus.seeding import Streams
    from saltus.tasks.custom import check_task
    from saltus.tasks.finite import draw_sets
    from saltus.train.interventions.several import build_interventions
    from saltus.train.memory import check_memory, read_available
    from saltus.train.optimizers import check_optimizer
    from saltus.train.phases.course import build_phases

    try:
        if (available := read_available()) is not None:
            check_memory(spec, processes, available)
        mixed = [phase.task for phase in spec.curriculum if isinstance(phase, MixturePhase)]
        for task in (spec.task, *mixed):
            if isinstance(task, CustomTask):
                check_task(task)
        if spec.data is not None:
            draw_sets(spec.data, build_task_of(spec, 0), Streams(spec.master_seed).generator("sets", 0))
        if spec.interventions:
            build_interventions(spec, build_task_of(spec, 0))
        if spec.curriculum:
            build_phases(spec, build_task_of(spec, 0))
        chosen = spec.training.rates or spec.training.optimizer == "muon"  # by the weights of the model
        if chosen or spec.model.kind == "custom":
            model = build_model(spec.model, read_facts(spec), init_seed=0)
            check_optimizer(spec.training, model)
    except SaltusError as error:
        raise SaltusError(f"{spec.name}: {error}") from None


def check_needs(spec: RunSpec, out: Path, asked: Collection[str]) -> None:
    """Raise a SaltusError if a run needs another one that is neither finished in `out` nor `asked` for as well.

    One that is finished already is looked at too.
    """
    from saltus.train.interventions.several import build_interventions

    finished = {name for name in spec.needs if RunFolder(out / name).finished}
    for name in sorted(spec.needs - finished):
        if name not in asked:
            raise SaltusError(
                f"{spec.name}: intervention.teacher: {name!r} was given, and {out} has no finished run of that name; "
                "train it first, into the same folder, or put it into the same study"
            )
    if spec.needs and not spec.needs - finished:
        try:
            build_interventions(spec, build_task_of(spec, 0), out)
        except SaltusError as error:
            raise SaltusError(f"{spec.name}: {error}") from None


def _tell_shorter(out: Path, spec: RunSpec) -> str | None:
    """Why a run starts anew although the same run has been finished for fewer steps."""
    shorter = RunFolder.find_shorter(out, spec)
    if shorter is None:
        return None
    steps = shorter.spec().training.steps
    if spec.training.decay != "constant":
        why = "its learning rate falls over all its steps"
    elif not shorter.spec().prolongable:
        why = f"step {steps:,} was evaluated there only because it was the last"
    else:
        why = "the version before kept no moments to go on with"
    return f"{spec.name}: a run of {spec.training.steps:,} steps starts anew beside the run of {steps:,}: {why}"


def _choose_group(waiting: Sequence[_Waiting], engine: "Engine") -> list[_Waiting]:
    """The first run that waits and others that can be trained with it: of its shape, at the same checkpoint.

    Runs that need one of those that wait have their turn after it.
    """
    unfinished = {each.folder.path.name for each in waiting}
    waiting = [each for each in waiting if unfinished.isdisjoint(each.spec.needs)]
    first = next((each for each in waiting if not each.folder.held), waiting[0])
    start, seeds = first.find_behind()
    alike, counts = [first], [len(seeds)]
    for each in waiting:
        known = any(each.folder.path == other.folder.path for other in alike)  # for other seeds or steps
        if known or each.spec.shape != first.spec.shape or each.folder.held:
            continue
        its_start, seeds = each.find_behind()
        if its_start == start and seeds:
            alike, counts = [*alike, each], [*counts, len(seeds)]
    return alike[: engine.choose([each.spec for each in alike], counts)]


@dataclass
class _Sweep:
    """Trains one group of runs after the other, and remembers what did not succeed."""

    engine: "Engine"
    measures: Sequence[Measure]
    device: str
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
        from saltus.engines.workers import WorkerError

        told = isinstance(error, SaltusError | WorkerError)  # these name what was raised themselves
        text = str(error) if told else f"{type(error).__name__}: {error}"
        reason = self.failed[each.spec.name] = " ".join(text.split())
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
                    measures = list_measures(each.spec, self.measures)
                    jobs.append(Job(each.spec, each.folder, facts, seeds, measures))
            if not jobs:
                return
            members = [Member(run, seed) for run, job in enumerate(jobs) for seed in job.seeds]
            specs = [job.spec for job in jobs]
            trainer = self.engine.open(specs, members, group[0].folder.path.parent)
            view = stack.enter_context(LiveView(specs, self.console))
            train(jobs, trainer, view, finish)

    def _finish(self, folder: RunFolder, spec: RunSpec, seconds: float) -> None:
        """Finish a run unless some of its seeds are still behind."""
        if _Waiting(spec, folder).find_behind()[1]:
            return
        before = folder.summary() if folder.finished else {}
        last = [checkpoint.step for checkpoint in folder.newest().values()] or folder.records().last_steps.values()
        summary = {
            "device": self.device,
            "asked": folder.ask(spec),
            "last_step": max(last),
            "seed_steps": sum(last),
            "seconds": seconds + float(before.get("seconds") or 0.0),
        }
        folder.finish(summary | describe_provenance("torch"))


def _tell_failures(failed: dict[str, str], total: int) -> str:
    told = [f"{name}: {reason}" for name, reason in failed.items()]
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{len(told)} of {total} runs failed, the others were trained: {'; '.join(told[:_SHOWN])}{more}"
