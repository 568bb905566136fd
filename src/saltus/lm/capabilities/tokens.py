"""Text as tokens, checked: what a tokenizer cannot express is noticed, not guessed at.

Nothing is put before a text: `add_special_tokens` is off, because Pythia was trained without a token for the beginning.
`put_beginning` puts one there, where that is asked for.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_prompt(
    tokenizer: "PreTrainedTokenizerBase",
    capability: str,
    text: str,
    target: str,
    foils: Sequence[str] = (),
) -> Prompt:
    """A prompt whose tokens are followed by those of the target, or of a foil.

    Raises `SaltusError`, with the prompt named, where the tokenizer lacks something, and where text and target meet
    within a token.
    """
    tokens = encode(tokenizer, capability, text)
    if not tokens:
        raise SaltusError(f"{capability}: the prompt {shorten(text)} has no tokens; give it at least one")
    right = _continue(tokenizer, capability, text, tokens, target)
    wrong = tuple(_continue(tokenizer, capability, text, tokens, foil) for foil in foils)
    if right in wrong:
        raise SaltusError(
            f"{capability}: after the prompt {shorten(text)} the target {target!r} and the foil "
            f"{foils[wrong.index(right)]!r} are the same tokens; give a foil that the tokenizer tells apart"
        )
    return Prompt(text, tokens, right, target, wrong)


def put_beginning(tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[int]) -> tuple[int, ...]:
    """The tokens with the tokenizer's token for the beginning of a text before them, unless it is there.

    Raises:
        SaltusError: if the tokenizer has none.

    """
    beginning = tokenizer.bos_token_id
    if not isinstance(beginning, int):
        raise SaltusError(
            "bos: the tokenizer has no token for the beginning of a text (bos_token); leave --bos out, or give a "
            "tokenizer that has one (--tokenizer)"
        )
    return tuple(tokens) if tokens[:1] == (beginning,) else (beginning, *tokens)


def begin(tokenizer: "PreTrainedTokenizerBase", prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts, each with the token for the beginning of a text before it; errors as in `put_beginning`."""
    return [replace(prompt, tokens=put_beginning(tokenizer, prompt.tokens)) for prompt in prompts]


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
