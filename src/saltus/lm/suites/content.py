"""What the files of a checkpoint were when they were read, so that a later look can tell whether they still are."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from saltus.lm.suites.base import MissingCheckpoint
from saltus.storage.files import hash_file

Stamp = tuple[int, int]
"""Bytes of a checkpoint's files, and the time of their last change, in nanoseconds since the epoch."""


@dataclass(frozen=True)
class Content:
    """Of the configuration and the weights; a tokenizer is compared by the prompts that it makes."""

    bytes: int
    modified: int
    """Time of the last change of any of the files, in nanoseconds since the epoch."""
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
    try:
        stats = [path.stat() for path in _list_files(folder)]
    except OSError as error:
        raise MissingCheckpoint(f"{error.filename} cannot be read ({error.strerror})") from None
    return sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)


def hash_content(folder: Path) -> str:
    """The hash of a checkpoint's files; errors as in `take_stamp`."""
    digest = hashlib.sha256()
    try:
        for path in _list_files(folder):
            digest.update(f"{path.name}\n{hash_file(path)}\n".encode())
    except OSError as error:
        raise MissingCheckpoint(f"{error.filename} cannot be read ({error.strerror})") from None
    return digest.hexdigest()


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.name == "config.json" or path.suffix == ".safetensors")
