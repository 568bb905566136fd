"""Text as tokens, checked: what a tokenizer cannot express is noticed, not guessed at.

Nothing is put before a text: `add_special_tokens` is off, because Pythia was trained without a token for the beginning.
"""

import unicodedata
from typing import TYPE_CHECKING

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_prompt(
    tokenizer: "PreTrainedTokenizerBase", capability: str, text: str, target: str, foil: str | None = None
) -> Prompt:
    """A prompt whose tokens are followed by those of the target, and as many of the foil.

    Raises `SaltusError`, with the prompt named, where the tokenizer lacks something, and where text and target meet
    within a token.
    """
    tokens = encode(tokenizer, capability, text)
    if not tokens:
        raise SaltusError(f"{capability}: the prompt {shorten(text)} has no tokens; give it at least one")
    right = _continue(tokenizer, capability, text, tokens, target)
    wrong = None if foil is None else _continue(tokenizer, capability, text, tokens, foil)
    if wrong is not None and len(wrong) != len(right):
        raise SaltusError(
            f"{capability}: after the prompt {shorten(text)} the target {target!r} has {len(right)} tokens and the "
            f"foil {foil!r} has {len(wrong)}; choose a foil of as many tokens"
        )
    return Prompt(text, tokens, right, target, wrong)


def encode(tokenizer: "PreTrainedTokenizerBase", capability: str, text: str) -> tuple[int, ...]:
    """The tokens of `text`, nothing added. Raises `SaltusError` where they do not say what the text says."""
    tokens = _try(tokenizer, text)
    if tokens is None:
        lacking = [word for word in text.split() if _try(tokenizer, word) is None]
        what = repr(lacking[0]) if lacking else "a line break" if "\n" in text else shorten(text)
        raise SaltusError(
            f"{capability}: the tokenizer lacks {what}, which the prompt {shorten(text)} needs; leave this capability "
            "out, or scan a suite whose tokenizer has it"
        )
    return tokens


def shorten(text: str) -> str:
    """As it stands in a message: in quotes, cut if it is long."""
    return repr(text if len(text) <= 80 else f"{text[:38]} … {text[-38:]}")


def _continue(
    tokenizer: "PreTrainedTokenizerBase", capability: str, text: str, tokens: tuple[int, ...], target: str
) -> tuple[int, ...]:
    """The tokens of `target` where it follows `text`."""
    whole = encode(tokenizer, capability, text + target)
    if whole[: len(tokens)] != tokens or len(whole) == len(tokens):
        raise SaltusError(
            f"{capability}: the prompt {shorten(text)} and what follows, {target!r}, do not meet between two tokens; "
            "move the space or line break between them from the end of the one to the beginning of the other"
        )
    return whole[len(tokens) :]


def _try(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[int, ...] | None:
    """The tokens, or None if they stand for another text: unknown words, lost line breaks.

    Spaces may come and go, and case and composition of letters may change, since some tokenizers do that to any text.
    """
    try:
        tokens = tokenizer.encode(text, add_special_tokens=False)
    except Exception:  # noqa: BLE001 - a word-level tokenizer without a token for unknown words raises a bare one
        return None
    read = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    if isinstance(read, list) or _normalise(read) != _normalise(text):
        return None
    return tuple(tokens)


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace(" ", "")
