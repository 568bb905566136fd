"""Descriptions of what is asked of a language model: prompts with targets."""

from typing import Annotated, Literal

from pydantic import Field

from saltus.specs.base import Spec


class CopyingSpec(Spec):
    """A string of digits, then its beginning again; the target is the digit that comes next (the paper's copying)."""

    kind: Literal["copying"] = "copying"
    prompts: int = Field(default=16, ge=1, le=4096)
    digits: int = Field(default=8, ge=2, le=512, description="length of the string that is repeated")


class RepetitionSpec(Spec):
    """Random tokens of the vocabulary, then their beginning again: in-context repetition (induction)."""

    kind: Literal["repetition"] = "repetition"
    prompts: int = Field(default=16, ge=1, le=4096)
    tokens: int = Field(default=12, ge=2, le=1024, description="length of the string that is repeated")


class NumberedListSpec(Spec):
    """A numbered list; the target is the number of its next line (the paper's pattern completion)."""

    kind: Literal["numbered_list"] = "numbered_list"
    prompts: int = Field(default=16, ge=1, le=4096)
    lines: int = Field(default=4, ge=2, le=64, description="lines before the number that is asked for")


class IndirectObjectSpec(Spec):
    """`When Mary and John went to the store, John gave a drink to` -> ` Mary` (arXiv 2211.00593)."""

    kind: Literal["indirect_object"] = "indirect_object"
    prompts: int = Field(default=16, ge=1, le=4096)


class PromptFileSpec(Spec):
    """The user's own prompts: one JSON object a line, with `prompt`, `target` and, if there is one, `foil`."""

    kind: Literal["prompt_file"] = "prompt_file"
    path: str
    sha256: str = Field(description="of the file, so that a changed file is another scan")


CapabilitySpec = Annotated[
    CopyingSpec | RepetitionSpec | NumberedListSpec | IndirectObjectSpec | PromptFileSpec, Field(discriminator="kind")
]
