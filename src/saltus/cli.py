"""The command line: a thin layer over `saltus.api`, with the same words."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from saltus import api
from saltus.api import DEFAULT_REPORT, DEFAULT_ROOT
from saltus.errors import SaltusError
from saltus.studies import load_study

app = typer.Typer(
    help="Find out when a capability appears in training, why, and how reliably over seeds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Device = Annotated[str, typer.Option(help="'cpu', 'cuda', or 'auto': CUDA where it is there.")]
Out = Annotated[Path, typer.Option(help="Folder that holds the run folders.")]
Seeds = Annotated[int | None, typer.Option(help="Number of seeds, instead of what the study says.")]
Steps = Annotated[int | None, typer.Option(help="Number of steps, instead of what the study says.")]


@app.command()
def demo(out: Out = DEFAULT_ROOT, device: Device = "auto", steps: Steps = None) -> None:
    """Train 8 seeds of a small linear map, show what emerged when, and write the report."""
    from saltus.demo import DEMO

    console = Console()
    folder = api.run(DEMO.with_overrides(steps=steps), out=out, device=device, console=console)
    api.show(folder, console)
    _print_path(console, "report", api.report([folder], folder.path / "report.html"))


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
        folder = api.run(spec, out=out, device=device, console=console)
        api.show(folder, console)
        _print_path(console, "records", folder.path)


@app.command()
def ls(out: Out = DEFAULT_ROOT) -> None:
    """List the runs in a folder."""
    console, table = Console(), Table("run", "seeds", "steps", "state")
    for folder in api.ls(out):
        spec, steps = folder.spec(), folder.checkpoint_steps()
        state = "finished" if folder.finished else f"at step {steps[-1]}" if steps else "not started"
        table.add_row(Text(folder.path.name), str(spec.seeds), str(spec.training.steps), state)
    if table.row_count:
        console.print(table)
    else:
        console.print(Text(f"no runs in {out}"), soft_wrap=True)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of one in --out.")], out: Out = DEFAULT_ROOT
) -> None:
    """Show what emerged when in one run."""
    api.show(api.find(run, out))


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or names of some in --out.")],
    out: Out = DEFAULT_ROOT,
    to: Annotated[Path, typer.Option(help="The HTML file to write.")] = DEFAULT_REPORT,
) -> None:
    """Write one self-contained HTML report of one or more runs."""
    _print_path(Console(), "report", api.report([api.find(name, out) for name in runs], to))


def main() -> None:
    """Entry point: mistakes that the user can mend are one sentence and exit code 2."""
    try:
        app()
    except SaltusError as error:
        sentence = " ".join(str(error).splitlines())
        Console(stderr=True).print(Text.assemble(("error:", "bold red"), " ", sentence), soft_wrap=True)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:  # which typer makes of Ctrl-C, in silence
            remedy = "interrupted; run the same command again to resume from the last checkpoint"
            Console(stderr=True).print(remedy, soft_wrap=True)
        raise


def _print_path(console: Console, label: str, path: Path) -> None:
    console.print(Text(f"{label}: {path}"), soft_wrap=True)
