"""A suite in a folder of the user's own: PATH/SIZE/SEED/stepN/, each with configuration, weights and tokenizer.

The names of the folders are the labels, but that `seed` before a digit is dropped: `tiny/seed0/step100` is step 100 of
size `tiny`, seed `0`. Whatever holds no `stepN` folder two levels down is not part of the suite.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import MissingCheckpoint, Run

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STEP = re.compile(r"step(0|[1-9][0-9]{0,8})")


class FolderSuite:
    """The checkpoints under a path. They are listed once, when the suite is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = path.resolve()
        if not self._root.is_dir():
            raise SaltusError(f"there is no folder {path}; a suite folder holds SIZE/SEED/stepN")
        self._folders: dict[Run, dict[int, Path]] = {}
        for folder in sorted(self._root.glob("*/*/step[0-9]*")):
            labels = (folder.parent.parent.name, folder.parent.name)
            if folder.is_dir() and folder.suffix != ".partial" and not any(name.startswith(".") for name in labels):
                self._add(folder, *labels)
        if not self._folders:
            raise SaltusError(f"{path} holds no checkpoints; put them into SIZE/SEED/stepN under it")
        weights = dict.fromkeys((run.size for run in self._folders), 0)
        for run, folders in self._folders.items():
            weights[run.size] = max(weights[run.size], *(_measure_weights(folder) for folder in folders.values()))
        self._runs = sorted(self._folders, key=lambda run: (weights[run.size], _split(run.size), _split(run.seed)))

    @property
    def name(self) -> str:
        """`folder:PATH`, the path as it was given."""
        return f"folder:{self._path}"

    def runs(self) -> Sequence[Run]:
        """All runs, sizes by the bytes of their weights, then by seed."""
        return self._runs

    def steps(self, run: Run) -> Sequence[int]:
        """The steps that have a folder, increasing."""
        return sorted(self._folders.get(run, ()))

    def locate(self, run: Run, step: int) -> Path | None:
        """See `LocalSuite`."""
        folder = self._folders.get(run, {}).get(step)
        return folder if folder is not None and folder.is_dir() else None

    def fetch(self, run: Run, step: int) -> Path:
        """The folder of a checkpoint, looked through for links that lead out of the suite."""
        folder = self.locate(run, step)
        if folder is None:
            raise MissingCheckpoint(f"{self._path} has no step {step} of {run}")
        for file in folder.iterdir():
            self._require_inside(file)
        if not (folder / "config.json").is_file():
            raise MissingCheckpoint(f"{folder} holds no config.json")
        if not any(file.is_file() for file in folder.glob("*.safetensors")):
            raise MissingCheckpoint(f"{folder} holds no safetensors weights; other formats are not read")
        return folder

    def _add(self, folder: Path, size: str, seed: str) -> None:
        for name in (size, seed):
            if not _LABEL.fullmatch(name):
                raise SaltusError(
                    f"{name!r} in {self._path} is no label; allowed are letters, digits, dots, dashes and underscores, "
                    "the first a letter or digit: rename it"
                )
        if not _STEP.fullmatch(folder.name):
            raise SaltusError(
                f"{folder.name!r} in {folder.parent} is no step; write it as stepN, without leading zeros"
            )
        self._require_inside(folder)
        run = Run(size, re.sub(r"^seed(?=[0-9])", "", seed))
        there = self._folders.setdefault(run, {})
        if any(other.parent != folder.parent for other in there.values()):
            raise SaltusError(f"two folders in {folder.parent.parent} name the seed {run.seed!r}; rename one of them")
        there[int(folder.name.removeprefix("step"))] = folder

    def _require_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self._root):
            raise SaltusError(f"{path} leads out of {self._path}; put what it links to in its place")


def _measure_weights(folder: Path) -> int:
    """Bytes of its safetensors files, which grow with the number of parameters."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file())


def _split(label: str) -> list[tuple[int, int, str]]:
    """A key by which 'a2' comes before 'a10'."""
    parts = re.split(r"([0-9]+)", label)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
