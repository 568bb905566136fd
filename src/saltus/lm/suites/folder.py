"""A suite in a folder of the user's own: PATH/SIZE/SEED/stepN/, each with configuration, weights and tokenizer.

A checkpoint may be called `checkpoint-N` as well, as the Trainer of transformers calls it.

The names of the folders are the labels, but that `seed` before a digit is dropped: `tiny/seed0/step100` is step 100 of
size `tiny`, seed `0`. Whatever holds no checkpoint two levels down is not part of the suite. Where nothing does, PATH
itself may hold the checkpoints of one run; its name is then the size, and the seed is `0`.

Any other tree is described by a pattern in the path itself (`tree.py`).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import Run
from saltus.lm.suites.listed import Entry, ListedSuite, name_run
from saltus.lm.suites.local import LocalPlace, sort_by_weights
from saltus.lm.suites.tree import is_pattern, list_tree

_STEP = re.compile(r"(?:step|checkpoint-)(0|[1-9][0-9]{0,8})")
_PATTERNS = ("step[0-9]*", "checkpoint-[0-9]*")


class FolderSuite(ListedSuite):
    """The checkpoints under a path, or of a pattern. They are listed once, when the suite is opened."""

    def __init__(self, path: Path, *, links: bool = False) -> None:
        """List them; with `links` what they link to may lie anywhere.

        Raises:
            SaltusError: if there are none, if a name is no label or no step, or if one of them leads out.

        """
        found = list_tree(path, links) if is_pattern(path) else _list_folder(path, links)
        super().__init__(f"folder:{path}", sort_by_weights(found))


def _list_folder(path: Path, links: bool) -> list[Entry]:
    root = Path(os.path.realpath(path))
    if not root.is_dir():
        raise SaltusError(f"there is no folder {path}; a suite folder holds SIZE/SEED/stepN, or one run's stepN")
    found = list(_read_runs(root, links))
    if not found:
        found = [_read_step(f, name_run(root.name, "0", root), root, links) for f in _list_checkpoints(root)]
    if not found:
        raise SaltusError(
            f"{path} holds no checkpoints; put them into SIZE/SEED/stepN under it, or those of one run into stepN or "
            "checkpoint-N, or say where they are with a pattern, such as folder:PATH/{group}-seed{seed}/step{step}"
        )
    return found


def _read_runs(root: Path, links: bool) -> Iterator[Entry]:
    """The checkpoints two levels down."""
    parents: dict[Run, Path] = {}
    for folder in _list_checkpoints(root, "*/*/"):
        seed, size = folder.parent, folder.parent.parent
        if seed.name.startswith(".") or size.name.startswith("."):
            continue
        run = name_run(size.name, seed.name, root)
        if parents.setdefault(run, seed) != seed:
            raise SaltusError(f"two folders in {size} name the seed {run.seed!r}; rename one of them")
        yield _read_step(folder, run, root, links)


def _read_step(folder: Path, run: Run, root: Path, links: bool) -> Entry:
    named, place = _STEP.fullmatch(folder.name), LocalPlace(folder, root, links)
    if named is None:
        raise SaltusError(
            f"{folder.name!r} in {folder.parent} is no step; write it as stepN or checkpoint-N, without leading zeros"
        )
    place.require_inside(folder)
    return Entry(run, int(named[1]), place)


def _list_checkpoints(root: Path, above: str = "") -> list[Path]:
    """Folders named as checkpoints, at the depth that the pattern `above` says."""
    found = [folder for pattern in _PATTERNS for folder in root.glob(above + pattern)]
    return sorted(folder for folder in found if folder.is_dir() and folder.suffix != ".partial")
