"""Tokenizers of checkpoints: beside the weights, or once for a run in the folder above them."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.suites.base import TOKENIZER_FILES, MissingCheckpoint
from saltus.storage.files import hash_file

_SENTENCES = "tokenizer.model"
_ENOUGH = (("tokenizer.json",), (_SENTENCES,), ("vocab.json", "merges.txt"), ("vocab.txt",))
"""Files that are a tokenizer, each with the others of its kind."""


def find_tokenizer(folder: Path, instead: str | None = None) -> Path | None:
    """The folder of a checkpoint's tokenizer: its own, or the one above it; None where neither has one.

    `instead` is the folder of another one, which is then the tokenizer of all.

    Raises:
        SaltusError: if there is none in `instead`.

    """
    if instead is None:
        return next((place for place in (folder, folder.parent) if _is_tokenizer(place)), None)
    if not _is_tokenizer(Path(instead)):
        raise SaltusError(
            f"tokenizer: {instead} holds none (tokenizer.json, tokenizer.model, or vocab.json with merges.txt); give "
            "the folder of its files"
        )
    return Path(instead)


def hash_tokenizer(folder: Path) -> str:
    """The hash of all that a tokenizer is read from."""
    there = [(name, hash_file(folder / name)) for name in TOKENIZER_FILES if (folder / name).is_file()]
    return hashlib.sha256(repr(there).encode()).hexdigest()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`; no code of the folder is run.

    Raises:
        MissingCheckpoint: if there is none that can be loaded.

    """
    if not _is_tokenizer(folder):
        raise MissingCheckpoint(
            f"{folder} holds no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with merges.txt); put its "
            "files there"
        )
    alone = (folder / _SENTENCES).exists() and not (folder / "tokenizer.json").exists()
    if alone and find_spec("sentencepiece") is None:
        raise MissingCheckpoint(
            f"{folder} holds its tokenizer as {_SENTENCES} alone, which the package sentencepiece reads; install it "
            "(pip install sentencepiece protobuf), or put a tokenizer.json there"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a foreign folder may break the library in any way
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise MissingCheckpoint(f"the tokenizer in {folder} cannot be loaded ({text}); put whole files there") from None


def _is_tokenizer(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in names) for names in _ENOUGH)
