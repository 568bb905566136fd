"""What can be done with runs, in the words of the command line: run, ls, show, report.

The only place where the stages are put together.
"""

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from saltus.errors import SaltusError
from saltus.report.tables import emergence_table
from saltus.specs import RunSpec
from saltus.store import RunFolder, list_runs

DEFAULT_ROOT = Path("runs")
DEFAULT_REPORT = Path("report.html")


def run(spec: RunSpec, *, out: Path = DEFAULT_ROOT, device: str = "auto", console: Console | None = None) -> RunFolder:
    """Train `spec` in a folder of its own under `out`: from the start, or from where an earlier call was interrupted.

    A finished run is returned as it is. `device` is 'cpu', 'cuda', or 'auto': CUDA where it is there.
    """
    console = console or Console()
    folder = RunFolder(out / spec.run_id)
    if folder.finished:
        folder.require(spec)
        console.print(Text(f"{folder.path} is finished already; delete it to train it again"), soft_wrap=True)
        return folder
    # Imported late: listing and reporting must not wait for torch.
    from saltus.engines.local import choose_device, open_trainer
    from saltus.report.live import LiveView
    from saltus.seeding import Streams
    from saltus.tasks.build import build_task
    from saltus.train.loop import train

    chosen = choose_device(device)
    facts = build_task(spec.task, Streams(spec.master_seed).generator("task")).facts
    started = time.monotonic()
    with open_trainer(spec, chosen) as trainer, folder.writing(spec, facts), LiveView(spec, console) as view:
        last = train(spec, folder, trainer, view)
        folder.finish(_summarise(device=chosen.type, last_step=last, seconds=time.monotonic() - started))
    return folder


def ls(out: Path = DEFAULT_ROOT) -> list[RunFolder]:
    """The runs in `out`, by name."""
    return list_runs(out)


def find(name: str, out: Path = DEFAULT_ROOT) -> RunFolder:
    """The run folder at the path `name`, or the one in `out` whose name starts with it."""
    if (Path(name) / "spec.json").exists():
        return RunFolder(Path(name))
    there = list_runs(out)
    found = [f for f in there if f.path.name == name] or [f for f in there if f.path.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    listing = ", ".join(folder.path.name for folder in (found or there)) or "none"
    what = "is the beginning of more than one run" if found else "is no run"
    raise SaltusError(f"run: {name!r} {what} in {out}; there are: {listing}")


def show(run: RunFolder, console: Console | None = None) -> None:
    """Print what emerged when, and the task's degenerate corners."""
    console, records = console or Console(), run.records()
    console.print(emergence_table(records))
    for corner in records.facts.corners:
        console.print(f"note: {corner}", markup=False, highlight=False)


def report(runs: Sequence[RunFolder], to: Path = DEFAULT_REPORT) -> Path:
    """Write one self-contained HTML report of one or more runs; its absolute path."""
    from saltus.report.page import write_report

    write_report([run.records() for run in runs], to)
    return to.resolve()


def _summarise(**values: Any) -> dict[str, Any]:
    packages = {name: version(name) for name in ("saltus", "torch", "numpy")}
    machine = {"system": platform.platform(), "processor": platform.processor(), "cores": os.cpu_count()}
    return {**values, "versions": {"python": platform.python_version(), **packages}, "machine": machine}
