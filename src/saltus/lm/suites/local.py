"""Checkpoints in folders of this machine."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.listed import Entry


@dataclass(frozen=True)
class LocalPlace:
    """A folder under a root, out of which nothing may lead unless `links` are allowed."""

    folder: Path
    root: Path
    """Resolved."""
    links: bool

    def __str__(self) -> str:
        return str(self.folder)

    def locate(self) -> Path | None:
        """See `Place`."""
        return self.folder if self.folder.is_dir() else None

    def fetch(self) -> Path:
        """The folder, looked through for links that lead out."""
        if self.locate() is None:
            raise MissingCheckpoint(f"there is no folder {self.folder}")
        for path in (self.folder, *self.folder.iterdir()):
            self.require_inside(path)
        if not (self.folder / "config.json").is_file():
            raise MissingCheckpoint(f"{self.folder} holds no config.json")
        if not any(file.is_file() for file in self.folder.glob("*.safetensors")):
            raise MissingCheckpoint(f"{self.folder} holds no safetensors weights; other formats are not read")
        return self.folder

    def require_inside(self, path: Path) -> None:
        """Refuse a path that leads out."""
        real = Path(os.path.realpath(path))  # of a link to itself too, which `resolve` refuses
        if not self.links and not real.is_relative_to(self.root):
            raise SaltusError(
                f"{path} leads out of {self.root}; put what it links to in its place, or allow that with --links"
            )


def sort_by_weights(entries: Iterable[Entry]) -> list[Entry]:
    """Entries with small sizes first, by the bytes of their weights, then by seed and step."""
    found, weights = list(entries), dict[str, int]()
    for entry in found:
        folder = entry.place.locate()
        files = folder.glob("*.safetensors") if folder is not None else ()
        size = sum(file.stat().st_size for file in files if file.is_file())
        weights[entry.run.size] = max(weights.get(entry.run.size, 0), size)

    def rank(entry: Entry) -> tuple[object, ...]:
        return weights[entry.run.size], _split(entry.run.size), _split(entry.run.seed), entry.step

    return sorted(found, key=rank)


def _split(label: str) -> list[tuple[int, int, str]]:
    """A key by which 'a2' comes before 'a10'."""
    parts = re.split(r"([0-9]+)", label)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
