"""The tokenizer of a pocket suite, and what its corpus becomes with it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from saltus.errors import SaltusError
from saltus.lm.pocket.corpora import (
    Corpus,
    PeriodicCorpus,
    TextCorpus,
    cut_text,
    read_described_text,
)
from saltus.specs.pocket import CorpusSpec, TextCorpusSpec

_WORDS = "0123456789abcdefghijklmnopqrstuvwxyz"

_PIECES = 64
"""Pieces of text that are turned into tokens at once: bounds what that takes of memory."""


def name_words(vocabulary: int) -> list[str]:
    """The words of a periodic corpus: digits, letters, then numbered ones.

    >>> " ".join(name_words(38))
    '0 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n o p q r s t u v w x y z w36 w37'
    """
    return [_WORDS[i] if i < len(_WORDS) else f"w{i}" for i in range(vocabulary)]


def write_corpus(spec: CorpusSpec, length: int, folder: Path) -> None:
    """Write the tokenizer (`tokenizer.json`, `tokenizer_config.json`) and, of a text, its tokens (`tokens.uint16`)."""
    if isinstance(spec, TextCorpusSpec):
        text = read_described_text(spec)
        tokenizer = _train_pairs(spec, text)
        tokens = _encode(tokenizer, text)
        if len(tokens) < length:
            raise SaltusError(
                f"the text of {spec.path or 'the standard library'} has {len(tokens)} tokens, and a sequence "
                f"{length}; give more text, or a shorter length"
            )
        tokens.astype("<u2").tofile(folder / "tokens.uint16")
    else:
        tokenizer = _split_words(spec.vocabulary)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False).save_pretrained(folder)


def open_corpus(spec: CorpusSpec, folder: Path) -> Corpus:
    """The corpus that `write_corpus` wrote; a text's tokens stay on disk."""
    if isinstance(spec, TextCorpusSpec):
        return TextCorpus(np.memmap(folder / "tokens.uint16", dtype="<u2", mode="r"))
    return PeriodicCorpus(spec.vocabulary)


def _split_words(vocabulary: int) -> Tokenizer:
    """Words between spaces. One that is not in the vocabulary is an error of the tokenizer, not another token."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(name_words(vocabulary))}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def _train_pairs(spec: TextCorpusSpec, text: str) -> Tokenizer:
    """Byte-level BPE: every text becomes tokens, and these exactly the text again."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocabulary,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(cut_text(text), trainer)
    if (found := tokenizer.get_vocab_size()) < spec.vocabulary:
        raise SaltusError(
            f"vocabulary: {spec.vocabulary} was given, and the text of {spec.path or 'the standard library'} yields "
            f"{found} tokens; give at most {found}, or more text"
        )
    return tokenizer


def _encode(tokenizer: Tokenizer, text: str) -> NDArray[np.uint16]:
    """The whole text, [token]."""
    return np.concatenate([np.array(ids, dtype=np.uint16) for ids in _encode_pieces(tokenizer, list(cut_text(text)))])


def _encode_pieces(tokenizer: Tokenizer, pieces: list[str]) -> Iterator[list[int]]:
    for begin in range(0, len(pieces), _PIECES):
        for encoding in tokenizer.encode_batch_fast(pieces[begin : begin + _PIECES]):
            yield encoding.ids
