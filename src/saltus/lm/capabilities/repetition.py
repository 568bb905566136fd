"""In-context repetition (induction): random tokens, then their beginning again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.specs.capabilities import RepetitionSpec


class Repetition:
    """Tokens drawn by their number; the string stands twice, and the last token of the second time is the target.

    No token comes twice in a string, so that the one before the target says where to look.
    """

    name = "repetition"

    def __init__(self, spec: RepetitionSpec) -> None:
        self._spec = spec

    def prompts(self, tokenizer: PreTrainedTokenizerBase, generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`."""
        ordinary = list_ordinary(tokenizer)
        if len(ordinary) < self._spec.tokens:
            raise SaltusError(
                f"{self.name}: the tokenizer has {len(ordinary)} ordinary tokens, too few for strings of "
                f"{self._spec.tokens} different ones; ask for shorter strings (tokens)"
            )
        strings = [generator.choice(ordinary, self._spec.tokens, replace=False) for _ in range(self._spec.prompts)]
        return [_repeat(tokenizer, tuple(map(int, string))) for string in strings]


def list_ordinary(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.int64]:
    """Numbers of the tokens that are text a person can read: none that is special, added, or a part of a letter."""
    unusual = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    numbers = sorted(set(tokenizer.get_vocab().values()) - unusual)
    texts = tokenizer.batch_decode([[number] for number in numbers], clean_up_tokenization_spaces=False)
    readable = [number for number, text in zip(numbers, texts, strict=True) if text.strip() and "\ufffd" not in text]
    return np.array(readable, dtype=np.int64)


def _repeat(tokenizer: PreTrainedTokenizerBase, string: tuple[int, ...]) -> Prompt:
    tokens, target = (*string, *string[:-1]), string[-1:]
    text, target_text = tokenizer.batch_decode([list(tokens), list(target)], clean_up_tokenization_spaces=False)
    return Prompt(text, tokens, target, target_text)
