"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

Device = Annotated[str, typer.Option(help="'cpu', 'cuda', 'mps', or 'auto': CUDA where it is there.")]
Processes = Annotated[int | None, typer.Option(min=1, help="How many train at a time on a CPU; one for each core.")]
Out = Annotated[Path, typer.Option(help="Folder that holds the folders of results.")]


def print_path(console: Console, label: str, path: Path) -> None:
    """Say where something is, on one line whatever its length."""
    console.print(Text(f"{label}: {path}"), soft_wrap=True)
