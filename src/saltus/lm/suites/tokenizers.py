"""Tokenizers of checkpoints, loaded."""

from importlib.util import find_spec
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from saltus.lm.suites.base import MissingCheckpoint
from saltus.lm.suites.tokenizer_files import SENTENCES, is_tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in `folder`; no code of the folder is run.

    Raises:
        MissingCheckpoint: if there is none that can be loaded.

    """
    if not is_tokenizer(folder):
        raise MissingCheckpoint(
            f"{folder} holds no tokenizer (tokenizer.json, tokenizer.model, or vocab.json with merges.txt); put its "
            "files there"
        )
    alone = (folder / SENTENCES).exists() and not (folder / "tokenizer.json").exists()
    if alone and find_spec("sentencepiece") is None:
        raise MissingCheckpoint(
            f"{folder} holds its tokenizer as {SENTENCES} alone, which the package sentencepiece reads; install it "
            "(pip install sentencepiece protobuf), or put a tokenizer.json there"
        )
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - a foreign folder may break the library in any way
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise MissingCheckpoint(f"the tokenizer in {folder} cannot be loaded ({text}); put whole files there") from None
