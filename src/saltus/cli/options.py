"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

Device = Annotated[str, typer.Option(help="'cpu', 'cuda', or 'auto': CUDA where it is there.")]
Out = Annotated[Path, typer.Option(help="Folder that holds the folders of results.")]


def print_path(console: Console, label: str, path: Path) -> None:
    """Say where something is, on one line whatever its length."""
    console.print(Text(f"{label}: {path}"), soft_wrap=True)
