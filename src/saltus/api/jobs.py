"""Sending runs to an engine: as which jobs, and what became of them."""

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from saltus.api.training import TrainJob
from saltus.arguments import AnyPath, EngineName
from saltus.errors import SaltusError
from saltus.report.terminal.notebook import open_console
from saltus.specs import RunSpec
from saltus.studies.jobs import Plan, Rate
from saltus.train.folder import RunFolder
from saltus.train.measures import Measure

if TYPE_CHECKING:
    from saltus.engines.base import Engine


@contextmanager
def open_engine(
    name: EngineName = "local",
    *,
    device: str = "auto",
    processes: int | None = None,
    slurm: Mapping[str, str] | None = None,
    logs: AnyPath = Path("logs"),
    console: Console | None = None,
) -> "Generator[Engine, None, None]":
    """An engine that runs and scans are given to: this machine, a Ray cluster or Slurm.

    Args:
        name: 'local'; 'ray', the cluster that RAY_ADDRESS names or that runs here, or this machine alone; or 'slurm'.
        device: what a job trains on: 'cpu', 'cuda', 'mps' (here alone), or 'auto'.
        processes: in which a job trains on a CPU; here one for each core, elsewhere one, unless it is given.
        slurm: parameters of submitit's, such as `{"slurm_partition": "gpu", "timeout_min": "720"}`.
        logs: where Slurm's jobs write what they say.
        console: where this process says what it does.

    Raises:
        SaltusError: if the engine, its packages or the device is not there.

    """
    match name:
        case "local":
            from saltus.engines.local import LocalEngine

            yield LocalEngine.of(device, processes, console or open_console())
        case "ray":
            from saltus.engines.ray import RayEngine

            with RayEngine.open(device, processes) as engine:
                yield engine
        case "slurm":
            from saltus.engines.slurm import SlurmEngine

            yield SlurmEngine.of(device, processes, Path(logs), slurm or {})
        case _:
            raise SaltusError(f"engine: {name!r} was given; allowed are 'local', 'ray' and 'slurm'")


def plan_runs(specs: Sequence[RunSpec], out: Path, engine: "Engine") -> Plan:
    """The jobs for what is not finished of `specs` under `out`."""
    once = {spec.content_hash: spec for spec in specs}
    folders = zip(once.values(), RunFolder.of_all(out, once.values()), strict=True)
    return _pack([spec for spec, folder in folders if not folder.covers(spec)], out, engine)


def _pack(waiting: Sequence[RunSpec], out: Path, engine: "Engine") -> Plan:
    import torch

    from saltus.engines.local import open_machine
    from saltus.engines.packing import list_waves, pack

    rate = Rate.read(out, engine.device)
    processes = engine.processes if engine.device == "cpu" else 1

    def time(spec: RunSpec) -> float:
        return rate.time(spec) / processes

    waves = [waiting] if engine.slots == 1 else list_waves(waiting)  # one job itself sees to what comes first
    with open_machine(torch.device(engine.device), processes) as machine:
        packed = [pack(wave, machine.choose, time, engine.slots) for wave in waves]
    return Plan(packed, rate, processes, engine.slots)


def send(
    waiting: Sequence[RunSpec],
    out: Path,
    engine: "Engine",
    measures: Sequence[Measure],
    console: Console,
    *,
    alone: bool,
) -> dict[str, str]:
    """Have runs trained; by the name of those that failed, why."""
    told: dict[str, str] = {}
    left: set[Path] = set()
    waves = [[waiting]] if engine.slots == 1 else _pack(waiting, out, engine).waves
    for wave in waves if waiting else ():
        here = engine.local
        jobs = [
            TrainJob(specs, out, engine.device, engine.processes, measures, alone=alone and here, remote=not here)
            for specs in wave
        ]
        for number, outcome in enumerate(engine.run(jobs), 1):
            told |= outcome.failed
            left |= set(outcome.left)
            if not engine.local:
                for name, reason in outcome.failed.items():
                    console.print(Text(f"{name} failed: {reason}"), soft_wrap=True)
                console.print(f"{number} of {len(jobs)} jobs are done", highlight=False)
    for path in sorted(left):
        console.print(Text(f"{path} is left to the process that trains it"), soft_wrap=True)
    return _find_failed(waiting, out, told, left)


def _find_failed(
    waiting: Sequence[RunSpec], out: Path, told: Mapping[str, str], left: Collection[Path]
) -> dict[str, str]:
    """Why runs are not finished, as jobs told it, or as it can be seen here; it is recorded in their folders."""
    failed: dict[str, str] = {}
    for spec, folder in zip(waiting, RunFolder.of_all(out, waiting), strict=True):
        if folder.covers(spec) or folder.path in left:
            continue
        lost = (
            f"its job is done, and {folder.path} is not finished here; give all machines the same disk, and run the "
            "same command again"
        )
        reason = failed[spec.name] = told.get(spec.name, lost)
        with suppress(SaltusError):  # on a full disk there is no room for this either
            if folder.path.exists() and folder.failure is None:
                folder.fail(reason)
    return failed
