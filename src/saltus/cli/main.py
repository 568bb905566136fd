"""The program `saltus`."""

import sys
from importlib.metadata import version as find_version
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from saltus.cli.checkpoints import audit, patch, pocket, scan
from saltus.cli.folders import ls, report, show
from saltus.cli.reading import read
from saltus.cli.runs import demo, figures, keep, run, status
from saltus.cli.statistics import compare, fit, plan, pool, split
from saltus.cli.watching import watch
from saltus.errors import SaltusError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_COMMANDS = (
    demo,
    run,
    status,
    keep,
    figures,
    pocket,
    audit,
    scan,
    patch,
    read,
    ls,
    show,
    report,
    compare,
    fit,
    split,
    plan,
    pool,
    watch,
)
for command in _COMMANDS:
    app.command()(command)


def _say_version(asked: bool) -> None:
    if asked:
        Console().print(f"saltus {find_version('saltus')}", highlight=False)
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version, and end.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Find out when a capability appears in training, why, and how reliably over seeds."""


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
