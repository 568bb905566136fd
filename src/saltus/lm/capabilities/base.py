"""What a capability is: prompts with targets, made for one tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prompt:
    """One prompt with what should follow it, as tokens."""

    text: str
    """As a person reads it."""
    tokens: tuple[int, ...]
    """The prompt, at least one token."""
    target: tuple[int, ...]
    """What should follow, at least one token."""
    target_text: str
    foils: tuple[tuple[int, ...], ...] = ()
    """Wrong answers to compare with, such as the other name of an indirect object, each of at least one token.

    An answer is scored by the log probability of the whole, the sum over its tokens, so that a long one is less
    probable than a short one.
    """
    id: str = ""
    """The user's own name of the prompt; empty where there is none."""
    category: str = ""
    """The part of the capability that it belongs to; empty where there are none."""
    bands: tuple[range, range] | None = None
    """Of a passage of text: early and late places of the target, whose mean losses are compared.

    A passage is scored by the mean log probability of its tokens, not by their sum. None for everything else.
    """

    @property
    def hashed(self) -> list[Any]:
        """Its tokens as they go into hashes: a single foil stands alone, as when there could be no more."""
        return [self.tokens, self.target, self.foils if len(self.foils) > 1 else next(iter(self.foils), None)]


class Capability(Protocol):
    """A family of prompts."""

    @property
    def name(self) -> str:
        """What stands in tables and figures, such as 'copying'."""
        ...

    def prompts(self, tokenizer: "PreTrainedTokenizerBase", generator: np.random.Generator) -> Sequence[Prompt]:
        """Prompts for this tokenizer, the same ones for equal generators.

        Raises `SaltusError`, with the prompt named, where the tokenizer cannot express one.
        """
        ...
