"""What the files of a checkpoint were when they were read, so that a later look can tell whether they still are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.suites.base import TOKENIZER_FILES, MissingCheckpoint
from saltus.lm.suites.tokenizer_files import find_tokenizer
from saltus.storage.files import hash_file

Stamp = tuple[int, int]
"""Bytes of a checkpoint's files, and the sum of the times of their last changes (ns since the epoch, modulo 2**62)."""


@dataclass(frozen=True)
class Content:
    """Of the configuration and the weights; a tokenizer is compared by the prompts that it makes."""

    bytes: int
    modified: int
    """Of the files, as in a `Stamp`: one that is replaced by an older file counts too."""
    sha256: str
    """Of the names of the files and their own hashes."""

    @property
    def stamp(self) -> Stamp:
        """What can be compared without reading the files."""
        return self.bytes, self.modified

    def is_of(self, folder: Path) -> bool:
        """Whether the files of a checkpoint are still these; read only if their size is and their time is not."""
        size, modified = take_stamp(folder)
        if size != self.bytes:
            return False
        return modified == self.modified or hash_content(folder) == self.sha256


def describe_content(folder: Path) -> Content:
    """What the files of a checkpoint are now."""
    return Content(*take_stamp(folder), hash_content(folder))


def take_stamp(folder: Path) -> Stamp:
    """Size and time of a checkpoint's files, which are not read.

    Raises:
        MissingCheckpoint: if they are gone.

    """
    return _stamp(_list_files(folder))


def take_fault_stamp(folder: Path, instead: str | None) -> Stamp:
    """As `take_stamp`, with the files of the tokenizer (`find_tokenizer`): the lack of one may be what is wrong."""
    try:
        place = find_tokenizer(folder, instead)
    except SaltusError:
        place = None
    files = [] if place is None else [place / name for name in TOKENIZER_FILES]
    return _stamp([*_list_files(folder), *(path for path in files if path.is_file())])


def hash_content(folder: Path) -> str:
    """The hash of a checkpoint's files; errors as in `take_stamp`."""
    digest = hashlib.sha256()
    try:
        for path in _list_files(folder):
            digest.update(f"{path.name}\n{hash_file(path)}\n".encode())
    except OSError as error:
        raise MissingCheckpoint(f"{error.filename} cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _stamp(files: Sequence[Path]) -> Stamp:
    try:
        stats = [path.stat() for path in files]
    except OSError as error:
        raise MissingCheckpoint(f"{error.filename} cannot be read ({error.strerror})") from None
    return sum(stat.st_size for stat in stats), sum(stat.st_mtime_ns for stat in stats) % 2**62


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name == "config.json" or path.suffix == ".safetensors")
