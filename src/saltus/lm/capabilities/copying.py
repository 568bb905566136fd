"""Copying: a string of digits, then its beginning again (arXiv 2606.25010).

0 7 3 1 2 0 2 3 0 7 3 1 2 0 2 -> 3
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.tokens import encode_prompt
from saltus.specs.capabilities import CopyingSpec

PAPER = (0, 7, 3, 1, 2, 0, 2, 3)
"""The string of the paper's prompt."""


class Copying:
    """Digits separated by spaces; the string stands twice, and the last digit of the second time is the target.

    With strings of 8 digits the first prompt is the paper's.
    """

    name = "copying"

    def __init__(self, spec: CopyingSpec) -> None:
        self._spec = spec

    def prompts(self, tokenizer: PreTrainedTokenizerBase, generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`."""
        strings = generator.integers(0, 10, size=(self._spec.prompts, self._spec.digits))  # [prompt, digit]
        if self._spec.digits == len(PAPER):
            strings[0] = PAPER
        return [
            encode_prompt(tokenizer, self.name, " ".join(map(str, [*string, *string[:-1]])), f" {string[-1]}")
            for string in strings
        ]
