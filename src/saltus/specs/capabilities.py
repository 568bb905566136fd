"""Descriptions of capabilities: what is asked of a language model, prompts with targets.

A capability is added here, with the class that its description builds.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from saltus.specs.base import Spec
from saltus.specs.criteria import CriterionSpec
from saltus.specs.kinds import of_kind


class BaseCapabilitySpec(Spec):
    """What every capability has."""

    builds: ClassVar[str]
    """Where the capability is, as `module:Class`; it is made as Class(spec)."""
    stream: ClassVar[int]
    """The number of the stream from which its prompts are drawn. Never to be changed; no two have the same."""

    length_key: ClassVar[str | None] = None
    """The key that says how long its prompts are; None where nothing does."""

    kind: Any
    """A string, and one literal in each kind."""

    @property
    def usual(self) -> CriterionSpec:
        """When its prompts are right, unless another criterion is asked for."""
        return CriterionSpec()

    @property
    def name(self) -> str:
        """What the capability is called in records."""
        return self.kind


class CopyingSpec(BaseCapabilitySpec):
    """A string of digits, then its beginning again; the target is the digit that comes next (the paper's copying)."""

    builds: ClassVar[str] = "saltus.lm.capabilities.copying:Copying"
    stream: ClassVar[int] = 0
    length_key: ClassVar[str | None] = "digits"

    kind: Literal["copying"] = "copying"
    prompts: int = Field(default=16, ge=1, le=4096)
    digits: int = Field(default=8, ge=2, le=512, description="length of the string that is repeated")


class RepetitionSpec(BaseCapabilitySpec):
    """Random tokens of the vocabulary, then their beginning again: in-context repetition (induction)."""

    builds: ClassVar[str] = "saltus.lm.capabilities.repetition:Repetition"
    stream: ClassVar[int] = 1
    length_key: ClassVar[str | None] = "tokens"

    kind: Literal["repetition"] = "repetition"
    prompts: int = Field(default=16, ge=1, le=4096)
    tokens: int = Field(default=12, ge=2, le=1024, description="length of the string that is repeated")


class NumberedListSpec(BaseCapabilitySpec):
    """A numbered list; the target is the number of its next line (the paper's pattern completion)."""

    builds: ClassVar[str] = "saltus.lm.capabilities.numbered_list:NumberedList"
    stream: ClassVar[int] = 2
    length_key: ClassVar[str | None] = "lines"

    kind: Literal["numbered_list"] = "numbered_list"
    prompts: int = Field(default=16, ge=1, le=4096)
    lines: int = Field(default=4, ge=2, le=64, description="lines before the number that is asked for")


class IndirectObjectSpec(BaseCapabilitySpec):
    """`When Mary and John went to the store, John gave a drink to` -> ` Mary` (arXiv 2211.00593)."""

    builds: ClassVar[str] = "saltus.lm.capabilities.indirect_object:IndirectObject"
    stream: ClassVar[int] = 3

    kind: Literal["indirect_object"] = "indirect_object"
    prompts: int = Field(default=16, ge=1, le=4096)

    @property
    def usual(self) -> CriterionSpec:
        """The margin, as in its paper: names compete with each other."""
        return CriterionSpec(kind="margin")


class PromptFileSpec(BaseCapabilitySpec):
    """The user's own prompts: one JSON object a line, with `prompt`, `target` and, if there are any, foils."""

    builds: ClassVar[str] = "saltus.lm.capabilities.prompt_file:PromptFile"
    stream: ClassVar[int] = 4

    kind: Literal["prompt_file"] = "prompt_file"
    path: str
    sha256: str = Field(description="of the file, so that a changed file is another scan")

    @property
    def name(self) -> str:
        """The name of the file."""
        return Path(self.path).name


class TextSpec(BaseCapabilitySpec):
    """Passages of a text, of which every token is predicted: mean loss, and in-context loss (arXiv 2209.11895)."""

    builds: ClassVar[str] = "saltus.lm.capabilities.text:Text"
    stream: ClassVar[int] = 5
    length_key: ClassVar[str | None] = "tokens"

    kind: Literal["text"] = "text"
    path: str
    sha256: str = Field(description="of the file, so that a changed file is another scan")
    prompts: int = Field(default=16, ge=1, le=4096, description="passages, evenly over the text")
    tokens: int = Field(default=512, ge=16, le=131072, description="length of a passage")

    @property
    def name(self) -> str:
        """The name of the file."""
        return Path(self.path).name

    @property
    def usual(self) -> CriterionSpec:
        """The in-context loss."""
        return CriterionSpec(kind="in-context")


class LmEvalSpec(BaseCapabilitySpec):
    """A task of lm-evaluation-harness: its first documents, each with the right answer and the other choices."""

    builds: ClassVar[str] = "saltus.lm.capabilities.lm_eval:LmEval"
    stream: ClassVar[int] = 6

    kind: Literal["lm_eval"] = "lm_eval"
    task: str = Field(description="its name in the harness, or the path of its YAML file")
    requests: Literal["multiple_choice", "loglikelihood"]
    sha256: str = Field(description="of what it asks, so that a changed task is another scan")
    prompts: int = Field(default=256, ge=1, le=4096, description="documents, the first ones, or all if there are fewer")

    @property
    def name(self) -> str:
        """The name of the task, or of its file."""
        return Path(self.task).stem if self.task.endswith(".yaml") else self.task

    @property
    def usual(self) -> CriterionSpec:
        """The margin over the other choices, where there are any."""
        return CriterionSpec(kind="margin" if self.requests == "multiple_choice" else "top-1")


CAPABILITIES: dict[str, type[BaseCapabilitySpec]] = {
    "copying": CopyingSpec,
    "repetition": RepetitionSpec,
    "numbered_list": NumberedListSpec,
    "indirect_object": IndirectObjectSpec,
    "prompt_file": PromptFileSpec,
    "text": TextSpec,
    "lm_eval": LmEvalSpec,
}
"""Every kind of capability."""

CapabilitySpec = Annotated[SerializeAsAny[BaseCapabilitySpec], of_kind(CAPABILITIES)]


def list_named() -> dict[str, BaseCapabilitySpec]:
    """The capabilities that a name alone describes, as on the command line."""
    required = {name: any(f.is_required() for f in kind.model_fields.values()) for name, kind in CAPABILITIES.items()}
    return {name: CAPABILITIES[name](kind=name) for name, needs_more in required.items() if not needs_more}
