"""A text, of which every token is predicted: mean loss, and in-context loss (Olsson et al., arXiv 2209.11895).

In-context loss is the loss late in a passage less the loss early in it: below 0 where a model uses what came before.
Olsson et al. take token 500 less token 50 of 512. Here both are bands of a sixteenth of the passage, which hold these
tokens and scale with its length: the tokens from 1/16 to 2/16 of it, and the last sixteenth.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.files import decode, read_bounded, require_unchanged
from saltus.lm.capabilities.tokens import shorten
from saltus.specs.capabilities import TextSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_BYTES = 20_000_000
BANDS = 16
"""Parts of a passage, of which the second is early and the last late."""


class Text:
    """Passages of equal length that do not overlap, evenly over the text; named after its file.

    A passage begins anywhere. Its first token is the prompt and the others are the target. Special tokens that the text
    spells out are taken for what they are called, as the tokenizer does.
    """

    def __init__(self, spec: TextSpec) -> None:
        self.name = spec.name
        self._spec = spec

    def prompts(self, tokenizer: "PreTrainedTokenizerBase", generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`; nothing is drawn."""
        spec, path = self._spec, Path(self._spec.path)
        content = read_bounded(path, MOST_BYTES, "a text")
        require_unchanged(spec.path, content, spec.sha256)
        tokens = self._encode(tokenizer, decode(path, content))
        there = len(tokens) // spec.tokens
        if there < spec.prompts:
            raise SaltusError(
                f"{self.name} has {len(tokens):,} tokens, enough for {there} of {spec.prompts} passages of "
                f"{spec.tokens}; ask for fewer (--number) or shorter ones (--length), or give a longer text"
            )
        starts = np.linspace(0, there - 1, spec.prompts).round().astype(int) * spec.tokens
        bands = place_bands(spec.tokens)
        passages = [tuple(tokens[start : start + spec.tokens]) for start in starts]
        texts = [tokenizer.decode(list(passage[:12]), clean_up_tokenization_spaces=False) for passage in passages]
        return [
            Prompt(f"{shorten(str(text))} …", passage[:1], passage[1:], f"{spec.tokens - 1} tokens", bands=bands)
            for text, passage in zip(texts, passages, strict=True)
        ]

    def _encode(self, tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
        try:
            return list(tokenizer.encode(text, add_special_tokens=False, verbose=False))
        except Exception as error:  # noqa: BLE001 - a word-level tokenizer without a token for unknown words raises a bare one
            raise SaltusError(
                f"{self.name}: the tokenizer cannot express the text ({' '.join(str(error).split())[:200]}); give a "
                "text of its words, or scan a suite with another tokenizer"
            ) from None


def place_bands(length: int) -> tuple[range, range]:
    """Early and late places of the target of a passage of `length` tokens; the target begins with the second token.

    >>> place_bands(512)
    (range(31, 63), range(479, 511))
    """
    wide = length // BANDS
    return range(wide - 1, 2 * wide - 1), range(length - 1 - wide, length - 1)


def describe_text(path: Path) -> TextSpec:
    """The spec of a text as it is now."""
    content = read_bounded(path, MOST_BYTES, "a text")
    decode(path, content)
    return TextSpec(path=str(path), sha256=hashlib.sha256(content).hexdigest())
