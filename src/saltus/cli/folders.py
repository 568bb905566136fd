"""Commands over folders of results: ls, show and report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from saltus import api
from saltus.api import DEFAULT_REPORT, DEFAULT_ROOT, Folder
from saltus.cli.options import Out, print_path
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.scanning.folder import ScanFolder


def ls(out: Out = DEFAULT_ROOT) -> None:
    """List the runs, scans and patch studies in a folder."""
    console, table = Console(), Table("name", "what", "state")
    for folder in api.ls(out):
        what, state = _describe(folder)
        table.add_row(Text(folder.path.name), Text(what), state)
    if table.row_count:
        console.print(table)
    else:
        console.print(Text(f"no runs in {out}"), soft_wrap=True)


def show(
    name: Annotated[str, typer.Argument(help="A folder of results, or the beginning of the name of one in --out.")],
    out: Out = DEFAULT_ROOT,
) -> None:
    """Show what emerged when in a run or a scan, or which heads a patch study found."""
    api.show(api.find(name, out))


def report(
    names: Annotated[list[str], typer.Argument(help="Folders of results, or names of some in --out.")],
    out: Out = DEFAULT_ROOT,
    to: Annotated[Path, typer.Option(help="The HTML file to write.")] = DEFAULT_REPORT,
) -> None:
    """Write one self-contained HTML report: of runs, or of scans and patch studies."""
    print_path(Console(), "report", api.report([api.find(name, out) for name in names], to))


def _describe(folder: Folder) -> tuple[str, str]:
    """What is in a folder, and how far it is."""
    finished = "finished" if folder.finished else ""
    match folder:
        case ScanFolder():
            spec = folder.spec()
            capabilities = ", ".join(capability.kind for capability in spec.capabilities)
            return f"scan of {spec.suite}: {capabilities}", finished or "not finished"
        case PatchFolder():
            spec = folder.spec()
            return f"{spec.capability.kind} in {spec.suite}, {spec.size}: {spec.donor} into {spec.recipient}", finished
        case _:
            spec, steps = folder.spec(), folder.checkpoint_steps()
            state = finished or (f"at step {steps[-1]}" if steps else "not started")
            return f"{spec.seeds} seeds, {spec.training.steps} steps", state
