"""What a capability is: prompts with targets, made for one tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
    foil: tuple[int, ...] | None = None
    """A wrong answer to compare with (the other name of an indirect object), of as many tokens as the target."""


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
