"""Checkpoints in a tree of any shape, which a pattern describes: `runs/{group}-seed{seed}/step{step}`.

The path up to the first name or star is the root. What the pattern does not name is the root's name, and seed `0`.
"""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from saltus.errors import SaltusError
from saltus.labels import compile_pattern, read_pattern, read_tokens, split_pattern
from saltus.lm.suites.listed import Entry, check_pattern, check_step, name_run
from saltus.lm.suites.local import LocalPlace


def is_pattern(path: Path) -> bool:
    """Whether a path names something in braces, or has a star, and is no folder that is called so."""
    return len(split_pattern(str(path))) > 1 and not path.is_dir()


def list_tree(pattern: Path, links: bool) -> Iterator[Entry]:
    """The folders that fit a pattern, by path.

    Raises:
        SaltusError: if there are none, if a name is no label or no step, or if one leads out and `links` is not set.

    """
    check_pattern(str(pattern))
    fixed = next(number for number, part in enumerate(pattern.parts) if len(split_pattern(part)) > 1)
    root, below = Path(os.path.realpath(Path(*pattern.parts[:fixed]))), "/".join(pattern.parts[fixed:])
    expression = compile_pattern(below, whole=True)
    folders = [folder for folder in sorted(root.glob(_to_glob(below))) if folder.is_dir()]
    empty = True
    for folder in folders:
        inside = folder.relative_to(root)
        labels = read_pattern(expression, inside.as_posix())
        if labels is None or folder.suffix == ".partial" or any(part.startswith(".") for part in inside.parts):
            continue
        place = LocalPlace(folder, root, links)
        place.require_inside(folder)
        run = name_run(labels.group or root.name, labels.seed or "0", root)
        empty = False
        yield Entry(run, check_step(labels.step, folder), place, read_tokens(expression, inside.as_posix()))
    if empty:
        raise SaltusError(f"no folder in {root} fits {below}; the pattern names folders that hold a checkpoint each")


def _to_glob(pattern: str) -> str:
    """A pattern in the words of the file system."""
    parts = ("*" if part.startswith("{") else part for part in split_pattern(pattern))
    return "".join(part if part in ("*", "**") else glob.escape(part) for part in parts)
