"""What a pocket suite is trained on: random strings that repeat, or text from disk."""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs.pocket import TextCorpusSpec

LARGEST_TEXT = 100 * 2**20
"""Bytes that a text may have: what its tokens and its tokenizer's training take then still fits a small machine."""

SHORTEST_PERIOD = 2

_PIECE = 2**16
"""Characters that a piece of text has at least, but for the last one."""

_NOT_OUR_TEXT = ("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__")
"""Folders of the standard library that are passed over: installed packages, and tests, which are half of it."""


class Corpus(Protocol):
    """Something that sequences are drawn from."""

    def draw(self, generator: np.random.Generator, sequences: int, length: int) -> NDArray[np.int64]:
        """`sequences` sequences of `length` tokens, [sequence, token]; the same ones for equal generators."""
        ...


@dataclass(frozen=True)
class PeriodicCorpus:
    """Random strings that repeat: each sequence has a period of its own, from 2 to half its length.

    >>> PeriodicCorpus(vocabulary=10).draw(np.random.default_rng(8), 2, 12)
    array([[2, 9, 1, 3, 6, 2, 9, 1, 3, 6, 2, 9],
           [6, 8, 0, 6, 8, 0, 6, 8, 0, 6, 8, 0]])
    """

    vocabulary: int

    def draw(self, generator: np.random.Generator, sequences: int, length: int) -> NDArray[np.int64]:
        """Periods and tokens are uniform; see `Corpus.draw`."""
        longest = length // 2
        periods = generator.integers(SHORTEST_PERIOD, longest, size=(sequences, 1), endpoint=True)
        strings = generator.integers(0, self.vocabulary, size=(sequences, longest))
        return np.take_along_axis(strings, np.arange(length) % periods, axis=1)


@dataclass(frozen=True)
class TextCorpus:
    """Windows of a text, each beginning anywhere in it."""

    tokens: NDArray[np.uint16]
    """The whole text, [token]."""

    def draw(self, generator: np.random.Generator, sequences: int, length: int) -> NDArray[np.int64]:
        """Beginnings are uniform; see `Corpus.draw`."""
        begin = generator.integers(0, len(self.tokens) - length, size=(sequences, 1), endpoint=True)
        return self.tokens[begin + np.arange(length)].astype(np.int64)


def describe_text(path: Path | None = None, vocabulary: int = 4096) -> TextCorpusSpec:
    """The corpus of the text at `path`, or of the standard library's sources, as it is now."""
    place = None if path is None else str(path.resolve())
    return TextCorpusSpec(path=place, sha256=_hash_text(read_text(place)), vocabulary=vocabulary)


def read_described_text(spec: TextCorpusSpec) -> str:
    """The text of `spec`; an error if it is not the one that was described."""
    text = read_text(spec.path)
    if (found := _hash_text(text)) != spec.sha256:
        raise SaltusError(
            f"the text of {spec.path or 'the standard library'} has the sha256 {found}, and {spec.sha256} is what was "
            "described; bring the old text back, or describe the new one, which is then another suite"
        )
    return text


def read_text(path: str | None) -> str:
    """The text in a file, in a folder, or, for None, in the sources of the standard library.

    Of a folder every file is taken, at any depth, in the order of their names; passed over are links, names that begin
    with a dot, and files that are not UTF-8 or hold a zero byte. Newlines stay as they are.
    """
    place = Path(sysconfig.get_path("stdlib") if path is None else path)
    try:
        if place.is_dir():
            files = [f for f in _list_files(place) if path is not None or _is_source(f.relative_to(place))]
        elif place.is_file():
            files = [place]
        else:
            raise SaltusError(f"{place} is neither a file nor a folder; give a text file, or a folder of them")
        text = "".join(_read_parts(place, files))
    except OSError as error:
        raise SaltusError(f"{error.filename} cannot be read ({error.strerror}); mend that, or leave it out") from None
    if not text:
        raise SaltusError(
            f"{place} holds no text (UTF-8 without zero bytes); give a text file, or a folder with at least one"
        )
    return text


def cut_text(text: str) -> Iterator[str]:
    """Pieces of the text that together are the text, cut at ends of lines where there are any."""
    begin = 0
    while begin < len(text):
        newline = text.find("\n", begin + _PIECE, begin + 2 * _PIECE)
        end = newline + 1 if newline >= 0 else begin + 2 * _PIECE
        yield text[begin:end]
        begin = end


def _list_files(folder: Path) -> list[Path]:
    """Every plain file below, without following links, in an order that depends on their names alone."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = [Path(parent) / name for name in names if not name.startswith(".")]
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _is_source(path: Path) -> bool:
    return path.suffix == ".py" and not any(part in _NOT_OUR_TEXT for part in path.parts)


def _read_parts(place: Path, files: list[Path]) -> Iterator[str]:
    """The text of each file that is one, as long as they are not too much together."""
    size = 0
    for file in files:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_TEXT + 1)
        if (part := _decode(content)) is None:
            continue
        size += len(content)
        if size > LARGEST_TEXT:
            raise SaltusError(f"{place} holds more than {LARGEST_TEXT >> 20} MiB of text, the most allowed; give less")
        yield part


def _raise(error: OSError) -> None:
    raise error


def _decode(content: bytes) -> str | None:
    """The text, None if it is none."""
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
