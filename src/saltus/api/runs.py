"""Training the runs of the synthetic half."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from saltus.api.folders import DEFAULT_ROOT, summarise
from saltus.specs import RunSpec
from saltus.train.folder import RunFolder, find_run

if TYPE_CHECKING:
    from saltus.engines.local import Engine


def run(spec: RunSpec, *, out: Path = DEFAULT_ROOT, device: str = "auto", console: Console | None = None) -> RunFolder:
    """Train `spec` in a folder of its own under `out`: from the start, or from where an earlier call was interrupted.

    A finished run is returned as it is. `device` is 'cpu', 'cuda', or 'auto': CUDA where it is there.
    """
    return run_all([spec], out=out, device=device, console=console)[0]


def run_all(
    specs: Sequence[RunSpec], *, out: Path = DEFAULT_ROOT, device: str = "auto", console: Console | None = None
) -> list[RunFolder]:
    """As `run`, for many: in their order, those of equal shape together as far as the device gains by it."""
    # Imported late: listing and reporting must not wait for torch.
    from saltus.engines.local import choose_device, open_engine
    from saltus.studies.status import summarise_progress

    console = console or Console()
    chosen = choose_device(device)
    folders: dict[str, RunFolder] = {}
    """By content: what has several names is trained once."""
    waiting: list[tuple[RunSpec, RunFolder]] = []
    for spec in specs:
        if spec.content_hash in folders:
            continue
        folder = folders[spec.content_hash] = find_run(out, spec)
        if folder.finished:
            folder.require(spec)
            console.print(Text(f"{folder.path} is finished already; delete it to train it again"), soft_wrap=True)
        else:
            waiting.append((spec, folder))
    with open_engine(chosen) as engine:
        while waiting:
            group = _choose_group(waiting, engine)
            _train_group(group, engine, chosen.type, console)
            waiting = [pair for pair in waiting if pair not in group]
            if waiting:
                console.print(summarise_progress(specs, out, chosen.type), markup=False, highlight=False)
    return [folders[spec.content_hash] for spec in specs]


def _choose_group(waiting: Sequence[tuple[RunSpec, RunFolder]], engine: "Engine") -> list[tuple[RunSpec, RunFolder]]:
    """The first run that waits and others that can be trained with it: of its shape, at the same checkpoint."""
    from saltus.train.loop import find_start

    spec, folder = waiting[0]
    alike = [pair for pair in waiting if pair[0].shape == spec.shape and find_start(pair[1]) == find_start(folder)]
    return alike[: engine.choose([spec for spec, _ in alike])]


def _train_group(group: Sequence[tuple[RunSpec, RunFolder]], engine: "Engine", device: str, console: Console) -> None:
    from saltus.report.terminal.training import LiveView
    from saltus.train.loop import Job, read_facts, train

    specs = [spec for spec, _ in group]
    seeds = sum(spec.seeds for spec in specs)
    started = time.monotonic()

    def finish(run: int, step: int) -> None:
        # Runs that are trained together share the time by their seeds.
        seconds = (time.monotonic() - started) * specs[run].seeds / seeds
        jobs[run].folder.finish({"device": device, "last_step": step, "seconds": seconds, **summarise("torch")})

    with ExitStack() as stack:
        trainer = engine.open(specs)
        jobs = [Job(spec, folder, read_facts(spec)) for spec, folder in group]
        for job in jobs:
            stack.enter_context(job.folder.writing(job.spec, job.facts))
        view = stack.enter_context(LiveView(specs, console))
        train(jobs, trainer, view, finish)
