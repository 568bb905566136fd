"""Options that several commands share."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

import saltus
from saltus.arguments import EngineName
from saltus.errors import SaltusError

if TYPE_CHECKING:
    from saltus.engines.base import Engine

Device = Annotated[str, typer.Option(help="'cpu', 'cuda', 'mps', or 'auto': CUDA where it is there.")]
Processes = Annotated[int | None, typer.Option(min=1, help="How many train at a time on a CPU; one for each core.")]
EngineChoice = Annotated[EngineName, typer.Option("--engine", help="Here, on a Ray cluster, or as jobs of Slurm.")]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="For Slurm's jobs, such as timeout_min=720 or slurm_partition=gpu; may be given again.",
    ),
]
PlanOnly = Annotated[bool, typer.Option("--plan", help="Show the jobs and what they will take, and send none.")]
OwnCode = Annotated[
    bool, typer.Option("--own-code", help="Execute the code of an own task or mixer that the run keeps.")
]
Out = Annotated[Path, typer.Option(help="Folder that holds the folders of results.")]


@contextmanager
def engine_of(
    name: EngineName, device: str, processes: int | None, slurm: list[str] | None, out: Path, console: Console
) -> "Generator[Engine | None, None, None]":
    """The engine that a command was given, with the logs of its jobs beside the results; None for this machine."""
    if slurm and name != "slurm":
        raise SaltusError(
            f"slurm: {slurm[0]!r} was given, and the engine is {name!r}; add --engine slurm, or leave it out"
        )
    if name == "local":
        yield None
        return
    given = {key: value for key, _, value in (each.partition("=") for each in slurm or ())}
    if empty := [key for key, value in given.items() if not value]:
        raise SaltusError(f"slurm: {empty[0]!r} was given; write NAME=VALUE, such as timeout_min=720")
    with saltus.api.open_engine(
        name, device=device, processes=processes, slurm=given, logs=out / "logs", console=console
    ) as engine:
        yield engine


def print_path(console: Console, label: str, path: Path) -> None:
    """Say where something is, on one line whatever its length."""
    console.print(Text(f"{label}: {path}"), soft_wrap=True)
