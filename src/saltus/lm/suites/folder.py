"""A suite in a folder of the user's own: PATH/SIZE/SEED/stepN/, each with configuration, weights and tokenizer.

A checkpoint may be called `checkpoint-N` as well, as the Trainer of transformers calls it.

The names of the folders are the labels, but that `seed` before a digit is dropped: `tiny/seed0/step100` is step 100 of
size `tiny`, seed `0`. Whatever holds no checkpoint two levels down is not part of the suite. Where nothing does, PATH
itself may hold the checkpoints of one run; its name is then the size, and the seed is `0`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import MissingCheckpoint, Run

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STEP = re.compile(r"(?:step|checkpoint-)(0|[1-9][0-9]{0,8})")
_PATTERNS = ("step[0-9]*", "checkpoint-[0-9]*")


class FolderSuite:
    """The checkpoints under a path. They are listed once, when the suite is opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = path.resolve()
        if not self._root.is_dir():
            raise SaltusError(f"there is no folder {path}; a suite folder holds SIZE/SEED/stepN, or one run's stepN")
        self._folders: dict[Run, dict[int, Path]] = {}
        for folder in _list_checkpoints(self._root, "*/*/"):
            labels = (folder.parent.parent.name, folder.parent.name)
            if not any(name.startswith(".") for name in labels):
                self._add(folder, *labels)
        if not self._folders:
            for folder in _list_checkpoints(self._root):
                self._add(folder, self._root.name, "0")
        if not self._folders:
            raise SaltusError(
                f"{path} holds no checkpoints; put them into SIZE/SEED/stepN under it, or those of one run into stepN "
                "or checkpoint-N"
            )
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
        named = _STEP.fullmatch(folder.name)
        if named is None:
            raise SaltusError(
                f"{folder.name!r} in {folder.parent} is no step; write it as stepN or checkpoint-N, without leading "
                "zeros"
            )
        self._require_inside(folder)
        step = int(named[1])
        run = Run(size, re.sub(r"^seed(?=[0-9])", "", seed))
        there = self._folders.setdefault(run, {})
        if any(other.parent != folder.parent for other in there.values()):
            raise SaltusError(f"two folders in {folder.parent.parent} name the seed {run.seed!r}; rename one of them")
        if step in there:
            raise SaltusError(f"two folders in {folder.parent} are step {step}; move one of them out of the suite")
        there[step] = folder

    def _require_inside(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self._root):
            raise SaltusError(f"{path} leads out of {self._path}; put what it links to in its place")


def _list_checkpoints(root: Path, above: str = "") -> list[Path]:
    """Folders named as checkpoints, at the depth that the pattern `above` says."""
    found = [folder for pattern in _PATTERNS for folder in root.glob(above + pattern)]
    return sorted(folder for folder in found if folder.is_dir() and folder.suffix != ".partial")


def _measure_weights(folder: Path) -> int:
    """Bytes of its safetensors files, which grow with the number of parameters."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors") if file.is_file())


def _split(label: str) -> list[tuple[int, int, str]]:
    """A key by which 'a2' comes before 'a10'."""
    parts = re.split(r"([0-9]+)", label)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
