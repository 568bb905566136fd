"""Training the runs of the synthetic half."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from saltus.api.jobs import send
from saltus.arguments import DEFAULT_ROOT, AnyPath
from saltus.errors import SaltusError
from saltus.extras import require_extra
from saltus.report.terminal.notebook import open_console
from saltus.specs import CustomTask, MixturePhase, RunSpec
from saltus.storage.listing import Listing
from saltus.tasks.build import build_task_of, read_facts
from saltus.train.folder import RunFolder
from saltus.train.measures import Measure, join_measures

if TYPE_CHECKING:
    from saltus.engines.base import Engine

_SHOWN = 3
"""Failures that are told in full at the end of a sweep."""


def run(
    spec: RunSpec,
    *,
    out: AnyPath = DEFAULT_ROOT,
    device: str = "auto",
    processes: int | None = None,
    engine: "Engine | None" = None,
    measures: Sequence[Measure] = (),
    console: Console | None = None,
) -> RunFolder:
    """Train `spec` in a folder of its own under `out`: from the start, or from where an earlier call was interrupted.

    A finished run is returned as it is. One that was finished for fewer seeds or steps takes the others alone, and ends
    as if all had been asked for at once. `device` is 'cpu', 'cuda', 'mps', or 'auto': CUDA where it is there.
    `processes` is how many train at a time on a CPU, one for each core unless it is given. An `engine` of
    `saltus.api.open_engine` stands in for both. `measures` are recorded besides `saltus.train.measures.MEASURES`
    while it is trained; a finished run that lacks one is returned with a note.
    """
    return run_all(
        [spec], out=out, device=device, processes=processes, engine=engine, measures=measures, console=console
    )[0]


def run_all(
    specs: Sequence[RunSpec],
    *,
    out: AnyPath = DEFAULT_ROOT,
    device: str = "auto",
    processes: int | None = None,
    engine: "Engine | None" = None,
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
    from saltus.engines.local import LocalEngine
    from saltus.train.concerns import list_concerns

    recorded = join_measures(measures)
    console = console or open_console()
    chosen: Engine = engine or LocalEngine.of(device, processes, console)
    folders: dict[str, RunFolder] = {}
    """By content: what has several names is trained once."""
    waiting: list[RunSpec] = []
    listing = Listing(out)
    for spec in specs:
        if spec.content_hash in folders:
            continue
        folder = folders[spec.content_hash] = RunFolder.of(out, spec, listing)
        if folder.finished:
            folder.restore(spec, read_facts(spec))
        if folder.covers(spec):
            console.print(Text(f"{folder.path} is finished already; delete it to train it again"), soft_wrap=True)
            if (there := folder.spec().emergence) != spec.emergence:
                rules = [f"threshold {each.threshold:g} and hold {each.hold}" for each in (there, spec.emergence)]
                told = f"note: {folder.path} is read by {rules[0]}, by which it was trained, and not by {rules[1]}"
                console.print(Text(f"{told}; show and report take --threshold and --hold"), soft_wrap=True)
            if lacking := ", ".join(folder.list_lacking(measures)):
                told = f"note: {folder.path} was trained without {lacking}; to record it, train in another folder"
                console.print(Text(told), soft_wrap=True)
        else:
            waiting.append(spec)
            if not folder.path.exists() and (told := _tell_shorter(listing, spec)):
                console.print(Text(told), soft_wrap=True)
    coming = {folders[spec.content_hash].path.name for spec in waiting}
    for spec in waiting:
        check_run(spec, chosen.processes if chosen.local else None)
        check_needs(spec, out, coming)
        folders[spec.content_hash].check_measures(measures)
    for concern in dict.fromkeys(concern for spec in waiting for concern in list_concerns(spec, chosen.device)):
        console.print(Text(f"note: {concern}"), soft_wrap=True)
    if failed := send(waiting, out, chosen, recorded, console, alone=len(specs) == 1):
        raise SaltusError(_tell_failures(failed, len(folders)))
    return [folders[spec.content_hash] for spec in specs]


def check_run(spec: RunSpec, processes: int | None) -> None:
    """Raise a SaltusError, which names the run, if it cannot be trained as it is described.

    Whether it fits into memory here is checked where it is to be trained by so many `processes` of this machine.
    """
    from saltus.models.build import build_model
    from saltus.seeding import Streams
    from saltus.tasks.custom import check_task
    from saltus.tasks.finite import draw_sets
    from saltus.train.interventions.several import build_interventions
    from saltus.train.memory import check_memory, read_available
    from saltus.train.optimizers import check_optimizer
    from saltus.train.phases.course import build_phases

    with _naming(spec):
        if processes is not None and (available := read_available()) is not None:
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


def check_needs(spec: RunSpec, out: Path, coming: Collection[str]) -> None:
    """Raise a SaltusError if a run needs another one that is neither finished in `out` nor `coming`: trained before it.

    One that is finished already is looked at too, unless it is trained further first.
    """
    from saltus.train.interventions.several import build_interventions

    here = spec.needs - set(coming)
    for name in sorted(here):
        if not RunFolder(out / name).finished:
            raise SaltusError(
                f"{spec.name}: intervention.teacher: {name!r} was given, and {out} has no finished run of that name; "
                "train it first, into the same folder, or put it into the same study"
            )
    if here and here == spec.needs:
        with _naming(spec):
            build_interventions(spec, build_task_of(spec, 0), out)


@contextmanager
def _naming(spec: RunSpec) -> Generator[None, None, None]:
    """What is wrong with a run, or what its own code raises, becomes one sentence that names it."""
    from saltus.engines.workers import describe_failure

    try:
        yield
    except Exception as error:
        failure = describe_failure(error)
        if failure.trace:
            raise
        raise SaltusError(f"{spec.name}: {failure.text}") from None


def _tell_shorter(listing: Listing, spec: RunSpec) -> str | None:
    """Why a run starts anew although the same run has been finished for fewer steps."""
    shorter = RunFolder.find_shorter(listing, spec)
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


def _tell_failures(failed: dict[str, str], total: int) -> str:
    told = [f"{name}: {reason}" for name, reason in failed.items()]
    if total == 1:
        return told[0]
    more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{len(told)} of {total} runs failed, the others were trained: {'; '.join(told[:_SHOWN])}{more}"
