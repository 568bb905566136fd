"""Commands over folders: ls, show and report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import saltus
from saltus.arguments import DEFAULT_REPORT, DEFAULT_ROOT
from saltus.cli.options import Out, print_path
from saltus.specs.checkpoints import EffectUnit

Threshold = Annotated[
    float | None, typer.Option(help="Level at which a unit counts as there, instead of what the folder states.")
]
Hold = Annotated[
    int | None, typer.Option(min=1, help="Evaluations in a row that it must hold, instead of what the folder states.")
]


def ls(out: Out = DEFAULT_ROOT) -> None:
    """List the runs, scans and patches in a folder."""
    console, table = Console(), Table("name", "kind", "what", "state")
    for listing in map(saltus.api.describe, saltus.api.ls(out)):
        state = Text(listing.state, style="" if listing.readable else "red")
        table.add_row(Text(listing.name), listing.kind, Text(listing.what), state)
    if table.row_count:
        console.print(table)
    else:
        console.print(Text(f"no runs in {out}"), soft_wrap=True)


def show(
    name: Annotated[str, typer.Argument(help="A folder, or the beginning of the name of one in --out.")],
    out: Out = DEFAULT_ROOT,
    threshold: Threshold = None,
    hold: Hold = None,
    capability: Annotated[
        list[str] | None, typer.Option(help="Of a scan only this capability; may be given again.")
    ] = None,
    size: Annotated[list[str] | None, typer.Option(help="Of a scan only this size; may be given again.")] = None,
    unit: Annotated[
        EffectUnit | None,
        typer.Option(help="Of a patch, in which unit the largest effects are shown; probability if not given."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write every table of a scan, patch or audit there as well.")
    ] = None,
) -> None:
    """Show what emerged when in a run or a scan, or which heads a patch found."""
    folder = saltus.api.find(name, out)
    tables = None if csv is None else saltus.api.export(folder, csv, threshold=threshold, hold=hold)
    saltus.api.show(folder, threshold=threshold, hold=hold, capabilities=capability or (), sizes=size or (), unit=unit)
    if tables is not None:
        print_path(Console(), "tables", tables)


def report(
    names: Annotated[list[str], typer.Argument(help="Folders, or the beginnings of names of some in --out.")],
    out: Out = DEFAULT_ROOT,
    to: Annotated[Path, typer.Option(help="The HTML file to write.")] = DEFAULT_REPORT,
    threshold: Threshold = None,
    hold: Hold = None,
) -> None:
    """Write one self-contained HTML report of runs, scans and patches."""
    folders = [saltus.api.find(name, out) for name in names]
    print_path(Console(), "report", saltus.api.report(folders, to, threshold=threshold, hold=hold))
