"""The command line, and the only place where the stages are put together."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from saltus.errors import SaltusError
from saltus.records import RunRecords
from saltus.report.tables import emergence_table
from saltus.specs import RunSpec
from saltus.store import RunFolder, list_runs
from saltus.studies import load_study

app = typer.Typer(
    help="Find out when a capability appears in training, why, and how reliably over seeds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

DEFAULT_ROOT = Path("runs")

Device = Annotated[str, typer.Option(help="'cpu', 'cuda', or 'auto': CUDA where it is there.")]
Out = Annotated[Path, typer.Option(help="Folder that holds the run folders.")]
Seeds = Annotated[int | None, typer.Option(help="Number of seeds, instead of what the study says.")]
Steps = Annotated[int | None, typer.Option(help="Number of steps, instead of what the study says.")]


@app.command()
def demo(out: Out = DEFAULT_ROOT, device: Device = "auto", steps: Steps = None) -> None:
    """Train 8 seeds of a small linear map, show what emerged when, and write the report."""
    from saltus.demo import DEMO

    console = Console()
    folder = run_one(DEMO.with_overrides(steps=steps), out, device, console)
    records = folder.records()
    console.print(emergence_table(records))
    console.print(f"report: {write_run_report([records], folder.path / 'report.html')}", soft_wrap=True)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A Python file that exports `runs`, a list of RunSpec.")],
    seeds: Seeds = None,
    steps: Steps = None,
    device: Device = "auto",
    out: Out = DEFAULT_ROOT,
    only: Annotated[str | None, typer.Option(help="Only the runs whose name contains this.")] = None,
) -> None:
    """Train the runs of a study; what is finished is kept, what was interrupted is resumed."""
    console = Console()
    specs = load_study(study)
    chosen = [spec for spec in specs if only is None or only in spec.name]
    if not chosen:
        raise SaltusError(f"only: {only!r} is in no run's name; the names are {', '.join(s.name for s in specs)}")
    # All of them are checked before the first one trains.
    for spec in [spec.with_overrides(seeds=seeds, steps=steps) for spec in chosen]:
        folder = run_one(spec, out, device, console)
        console.print(emergence_table(folder.records()))
        console.print(f"records: {folder.path}", soft_wrap=True)


@app.command()
def ls(out: Out = DEFAULT_ROOT) -> None:
    """List the runs in a folder."""
    table = Table("run", "seeds", "steps", "state")
    for folder in list_runs(out):
        spec, steps = folder.spec(), folder.checkpoint_steps()
        state = "finished" if folder.finished else f"at step {steps[-1]}" if steps else "not started"
        table.add_row(folder.path.name, str(spec.seeds), str(spec.training.steps), state)
    Console().print(table)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of one in --out.")], out: Out = DEFAULT_ROOT
) -> None:
    """Show what emerged when in one run."""
    Console().print(emergence_table(find_run(run, out).records()))


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or names of some in --out.")],
    out: Out = DEFAULT_ROOT,
    to: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML report of one or more runs."""
    records = [find_run(name, out).records() for name in runs]
    Console().print(f"report: {write_run_report(records, to)}", soft_wrap=True)


def run_one(spec: RunSpec, root: Path, device: str, console: Console) -> RunFolder:
    """Train `spec` under `root` unless it is finished; its folder."""
    folder = RunFolder(root / spec.run_id)
    if folder.finished:
        console.print(f"{folder.path} is finished already; delete it to train it again", soft_wrap=True)
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
    with folder.writing(spec, facts), open_trainer(spec, chosen) as trainer, LiveView(spec, console) as view:
        last = train(spec, folder, trainer, view)
        folder.finish(_summarise_machine(device=chosen.type, last_step=last, seconds=time.monotonic() - started))
    return folder


def find_run(name: str, root: Path) -> RunFolder:
    """The run folder at the path `name`, or the one in `root` whose name starts with it."""
    if (Path(name) / "spec.json").exists():
        return RunFolder(Path(name))
    there = list_runs(root)
    found = [folder for folder in there if folder.path.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    listing = ", ".join(folder.path.name for folder in (found or there)) or "none"
    what = "is the beginning of more than one run" if found else "is no run"
    raise SaltusError(f"run: {name!r} {what} in {root}; there are: {listing}")


def write_run_report(records: Sequence[RunRecords], path: Path) -> Path:
    """Write the report; its absolute path."""
    from saltus.report.page import write_report

    try:
        write_report(records, path)
    except OSError as error:
        raise SaltusError(f"{path} cannot be written ({error}); free space or choose another place with --to") from None
    return path.resolve()


def main() -> None:
    """Entry point: mistakes that the user can mend are one sentence and exit code 2."""
    try:
        app()
    except SaltusError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; run the same command again to resume from the last checkpoint")
        sys.exit(130)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _summarise_machine(**values: Any) -> dict[str, Any]:
    packages = {name: version(name) for name in ("saltus", "torch", "numpy")}
    machine = {"system": platform.platform(), "processor": platform.processor(), "cores": os.cpu_count()}
    return {**values, "versions": {"python": platform.python_version(), **packages}, "machine": machine}
