"""What the page shows: the folders that there are, and the sections about each; it is asked again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from saltus.report.html.blocks import Section


@dataclass(frozen=True)
class Glimpse:
    """One folder in the list of all."""

    key: str
    """Stands for the folder in addresses; says nothing of where it lies."""
    name: str
    kind: str
    what: str
    state: str
    """Such as `being written`."""
    version: str
    """Another one as soon as anything in the folder has changed."""
    done: float | None = None
    """Share of the work that is done, from 0 to 1; None where it has no end, or none that is known."""
    left: float | None = None
    """Seconds that are left at the pace so far; None where that is not known."""


class Shelf(Protocol):
    """Where the folders are."""

    def look(self) -> Sequence[Glimpse]:
        """All folders as they are now, those that changed last first."""
        ...

    def describe(self, key: str) -> Sequence[Section]:
        """The sections about a folder; what cannot be read is a section that says so.

        Raises:
            KeyError: if there is no such folder.

        """
        ...


def sign_folder(path: Path) -> tuple[str, float]:
    """A text that changes with every file in a folder, and when the last of them was changed (seconds since 1970).

    Files that come and go while it looks are left out.
    """
    sizes, newest, count = 0, 0, 0
    for file in path.rglob("*"):
        try:
            found = file.stat()
        except OSError:
            continue
        sizes, newest, count = sizes + found.st_size, max(newest, found.st_mtime_ns), count + 1
    return f"{newest:x}-{sizes:x}-{count:x}", newest / 1e9
