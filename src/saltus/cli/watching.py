"""The command that serves the live page: watch; and the option of others to serve it beside their work."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

import saltus
from saltus.arguments import DEFAULT_PORT, DEFAULT_ROOT

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 is any that is free.")]
Watch = Annotated[bool, typer.Option("--watch", help="Serve the live page meanwhile.")]


def watch(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of trainings and other results, or folders that hold some; and study files, whose runs are "
            "in the first folder."
        ),
    ] = None,
    port: Port = DEFAULT_PORT,
) -> None:
    """Show what has come so far in a page that keeps itself up to date, until Ctrl-C."""
    files = [path for path in paths or () if path.suffix == ".py"]
    folders = [path for path in paths or () if path not in files] or [DEFAULT_ROOT]
    studies = [saltus.api.WatchedStudy(path, folders[0]) for path in files]
    saltus.api.watch(folders, studies=studies, port=port, tell=_tell)


@contextmanager
def watch_if(wanted: bool, out: Path, *studies: "saltus.api.WatchedStudy") -> Generator[None, None, None]:
    """Serve the live page of a folder and of studies beside what is done within, if it is wanted."""
    if not wanted:
        yield
        return
    with saltus.api.watch_beside([out], studies=studies, tell=_tell):
        yield


def _tell(address: str) -> None:
    Console(stderr=True).print(Text(f"watch: {address}"), soft_wrap=True)
