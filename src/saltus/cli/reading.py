"""The command that reads other people's files: read."""

import os
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import saltus
from saltus.arguments import DEFAULT_ROOT
from saltus.cli.options import Out, print_path
from saltus.curves import Rule
from saltus.ingest.gather import USUAL_RULE
from saltus.specs.base import DIGITS

Column = Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of tables; guessed if not given.")]


def read(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files of results, or folders of them.")],
    name: Annotated[str | None, typer.Option("--as", help="Name of the curves; that of the path if not given.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="What paths say, such as '{group}-seed{seed}/step{step}/*.json'.")
    ] = None,
    group: Column = None,
    seed: Column = None,
    step: Column = None,
    unit: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of tables that says what was evaluated, such as a task."),
    ] = None,
    value: Annotated[
        list[str] | None, typer.Option(help="A metric, a tag or a column that is read; may be given again.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this unit, such as a task, with * for anything; may be given again.")
    ] = None,
    above: Annotated[float | None, typer.Option(help="A unit is there at this value or a larger one.")] = None,
    below: Annotated[float | None, typer.Option(help="A unit is there below this value.")] = None,
    share: Annotated[
        bool, typer.Option("--share", help="The level of --above is a share of the way from chance to ceiling.")
    ] = False,
    hold: Annotated[
        int | None, typer.Option(min=1, help="Evaluations in a row that it must hold; 2 if not given.")
    ] = None,
    errors: Annotated[
        float | None, typer.Option(min=0.0, help="Standard errors by which it must be beyond the level.")
    ] = None,
    chance: Annotated[float | None, typer.Option(help="Level of chance of units of which it is not known.")] = None,
    ceiling: Annotated[float | None, typer.Option(help="Best value of units of which it is not known.")] = None,
    out: Out = DEFAULT_ROOT,
) -> None:
    """Read files of evaluations as curves, which show, report, compare and plan then take."""
    console = Console()
    rule = None
    if share or any(given is not None for given in (above, below, hold, errors)):
        level = USUAL_RULE.above if above is None and below is None else above
        rule = Rule(above=level, below=below, share=share, hold=hold or USUAL_RULE.hold, errors=errors or 0.0)
    name = _name(paths[0]) if name is None else name
    saltus.api.read(
        *paths,
        pattern=pattern,
        group=group,
        seed=seed,
        step=step,
        unit=unit,
        value=value or (),
        only=only or (),
        chance=chance,
        ceiling=ceiling,
        rule=rule,
        name=name,
        out=out,
    )
    saltus.api.show(saltus.api.find(str(out / name)), console)
    print_path(console, "curves", out / name)


def _name(path: str) -> str:
    """A name for what is read from a path: its own, without what no folder should be called."""
    whole = Path(os.path.realpath(path))
    stem = whole.stem if whole.is_file() else whole.name
    without_hash = re.sub(rf"-[0-9a-f]{{{DIGITS}}}$", "-curves", stem)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", without_hash).strip("-._")[:64] or "curves"
