"""Pattern completion: a numbered list, of which the number of the next line is asked.

1. bread        3. milk
2. milk         4. sugar
3. lamp         5. bread
-> 4            -> 6
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.tokens import encode, encode_prompt
from saltus.specs.capabilities import NumberedListSpec

_ITEMS = (
    *("apple", "bread", "milk", "sugar", "lamp", "table", "paper", "water", "stone", "green", "music", "house"),
    *(
        "river",
        "chair",
        "glass",
        "horse",
        "window",
        "garden",
        "metal",
        "cotton",
        "silver",
        "orange",
        "bottle",
        "winter",
    ),
)

LATEST_START = 5
"""Lists begin at a number from 1 to this, so that no single answer is right for all; the first list begins at 1."""


class NumberedList:
    """Lines of a number, a full stop and a word.

    The prompt ends with the line break where the tokenizer lets it; where it merges the break with the number, the
    prompt ends before, and break and number are the target.
    """

    name = "numbered_list"

    def __init__(self, spec: NumberedListSpec) -> None:
        self._spec = spec

    def prompts(self, tokenizer: PreTrainedTokenizerBase, generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`."""
        starts = generator.integers(1, LATEST_START + 1, size=self._spec.prompts)
        starts[0] = 1
        return [self._ask(tokenizer, int(start), generator) for start in starts]

    def _ask(self, tokenizer: PreTrainedTokenizerBase, start: int, generator: np.random.Generator) -> Prompt:
        lines = self._spec.lines
        items = generator.choice(_ITEMS, lines, replace=lines > len(_ITEMS))
        text = "\n".join(f"{start + line}. {item}" for line, item in enumerate(items))
        number = str(start + lines)
        encode(tokenizer, self.name, f"{text}\n{number}")  # what is lacking is said of the whole
        try:
            return encode_prompt(tokenizer, self.name, f"{text}\n", number)
        except SaltusError:
            return encode_prompt(tokenizer, self.name, text, f"\n{number}")
