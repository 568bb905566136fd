"""Indirect object identification (arXiv 2211.00593): of two names, the one that is not repeated.

When Mary and John went to the store, John gave a drink to -> Mary     (ABBA)
When John and Mary went to the store, John gave a drink to -> Mary     (BABA)
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.tokens import encode, encode_prompt
from saltus.specs.capabilities import IndirectObjectSpec

FEWEST_NAMES = 4
"""Names of a single token that the tokenizer must have."""

_TEMPLATES = (
    "When {first} and {second} went to the {place}, {giver} gave a {thing} to",
    "After {first} and {second} met at the {place}, {giver} handed a {thing} to",
    "While {first} and {second} were at the {place}, {giver} passed a {thing} to",
    "Yesterday {first} and {second} walked to the {place}, and {giver} offered a {thing} to",
)
_NAMES = (
    *("Mary", "John", "Anna", "Tom", "Paul", "Sarah", "James", "Alice", "Peter", "Emma", "David", "Laura", "Mark"),
    *("Jane", "Simon", "Kate", "Robert", "Lucy", "Henry", "Julia", "George", "Rachel", "Martin", "Susan", "Jack"),
    *("Helen", "Adam", "Clare", "Michael", "Linda"),
)
_PLACES = ("store", "park", "school", "station", "hospital", "garden", "office", "house", "restaurant", "market")
_THINGS = ("drink", "book", "ring", "key", "letter", "ball", "flower", "computer", "snack", "ticket")


class IndirectObject:
    """Names of a single token, in both orders by turns; the foil is the other name."""

    name = "indirect_object"

    def __init__(self, spec: IndirectObjectSpec) -> None:
        self._spec = spec

    def prompts(self, tokenizer: PreTrainedTokenizerBase, generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`."""
        names = self._list_names(tokenizer)
        prompts: list[Prompt] = []
        for number in range(self._spec.prompts):
            receiver, giver = generator.choice(names, 2, replace=False)
            first, second = (receiver, giver) if number % 2 == 0 else (giver, receiver)
            text = _TEMPLATES[number // 2 % len(_TEMPLATES)].format(
                first=first,
                second=second,
                giver=giver,
                place=generator.choice(_PLACES),
                thing=generator.choice(_THINGS),
            )
            prompts.append(encode_prompt(tokenizer, self.name, text, f" {receiver}", [f" {giver}"]))
        return prompts

    def _list_names(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Names that are one token after a space."""
        before = encode(tokenizer, self.name, "to")
        names: list[str] = []
        for name in _NAMES:
            try:
                tokens = encode(tokenizer, self.name, f"to {name}")
            except SaltusError:
                continue
            if tokens[:-1] == before:
                names.append(name)
        if len(names) < FEWEST_NAMES:
            raise SaltusError(
                f"{self.name}: the tokenizer has {len(names)} of {len(_NAMES)} first names as single tokens and at "
                f"least {FEWEST_NAMES} are needed; leave this capability out, or scan a suite with another tokenizer"
            )
        return names
