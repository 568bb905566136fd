"""The files of a tokenizer: beside the weights of a checkpoint, or once for a run in the folder above them."""

import hashlib
from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import TOKENIZER_FILES
from saltus.storage.files import hash_file

SENTENCES = "tokenizer.model"
_ENOUGH = (("tokenizer.json",), (SENTENCES,), ("vocab.json", "merges.txt"), ("vocab.txt",))
"""Files that are a tokenizer, each with the others of its kind."""


def find_tokenizer(folder: Path, instead: str | None = None) -> Path | None:
    """The folder of a checkpoint's tokenizer: its own, or the one above it; None where neither has one.

    `instead` is the folder of another one, which is then the tokenizer of all.

    Raises:
        SaltusError: if there is none in `instead`.

    """
    if instead is None:
        return next((place for place in (folder, folder.parent) if is_tokenizer(place)), None)
    if not is_tokenizer(Path(instead)):
        raise SaltusError(
            f"tokenizer: {instead} holds none (tokenizer.json, tokenizer.model, or vocab.json with merges.txt); give "
            "the folder of its files"
        )
    return Path(instead)


def hash_tokenizer(folder: Path) -> str:
    """The hash of all that a tokenizer is read from."""
    there = [(name, hash_file(folder / name)) for name in TOKENIZER_FILES if (folder / name).is_file()]
    return hashlib.sha256(repr(there).encode()).hexdigest()


def is_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the files of one."""
    return any(all((folder / name).is_file() for name in names) for names in _ENOUGH)
