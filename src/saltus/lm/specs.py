"""Frozen, validated descriptions of what is asked of language models: capabilities, scans, patches, pocket suites."""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from saltus.specs import Spec

Precision = Literal["float32", "bfloat16", "float16"]
Strategy = Literal["grid", "bisect", "robust"]
Stage = Literal["scores", "pattern"]
Queries = Literal["all", "last"]


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


class HashedSpec(Spec):
    """A description whose folder is named by its content."""

    def identify(self, name: str) -> str:
        """`name-hash`, the hash being of everything that decides the numbers."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


class ScanSpec(HashedSpec):
    """When did capabilities emerge, for each size and seed of a suite?"""

    suite: str = Field(description="'pythia', 'polypythias' or 'folder:PATH'")
    sizes: tuple[str, ...] = Field(default=(), description="empty for all")
    seeds: tuple[str, ...] = Field(default=(), description="empty for all")
    capabilities: tuple[CapabilitySpec, ...] = Field(min_length=1)
    strategy: Strategy = "robust"
    coarse: int = Field(default=16, ge=2, description="checkpoints of the robust strategy's first grid")
    threshold: float = Field(
        default=0.75, gt=0.0, le=1.0, description="share of right prompts with which a set is there"
    )
    precision: Precision = "float32"
    master_seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check_capabilities(self) -> Self:
        kinds = [capability.kind for capability in self.capabilities if capability.kind != "prompt_file"]
        if repeated := {kind for kind in kinds if kinds.count(kind) > 1}:
            raise ValueError(f"capabilities name {min(repeated)!r} more than once; each may be asked once in a scan")
        return self


class PatchSpec(HashedSpec):
    """Which heads brought a capability? Patterns of a donor checkpoint in place of the recipient's."""

    suite: str
    size: str
    seed: str = "0"
    recipient: int = Field(ge=0, description="step of the checkpoint that is patched, before the jump")
    donor: int = Field(ge=0, description="step of the checkpoint that gives its patterns, after the jump")
    donor_seed: str | None = Field(default=None, description="another seed as donor; the recipient's if None")
    capability: CapabilitySpec
    stage: Stage = Field(default="pattern", description="before or after the softmax")
    queries: Queries = Field(default="all", description="which queries' patterns are replaced")
    share: float = Field(default=0.8, gt=0.0, le=1.0, description="of the gain that the smallest set must recover")
    most_heads: int = Field(default=8, ge=1, le=256, description="largest set that the greedy search tries")
    rows: int = Field(default=256, ge=1, description="sequences in a pass; fewer take less memory")
    precision: Precision = "float32"
    master_seed: int = Field(default=0, ge=0, lt=2**32)


class PocketModelSpec(Spec):
    """One size of a pocket suite: a GPT-NeoX model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,31}$")
    layers: int = Field(ge=1, le=64)
    d_model: int = Field(ge=1, le=4096)
    heads: int = Field(ge=1, le=256)
    rotary: float = Field(default=1.0, gt=0.0, le=1.0, description="share of the head that rotary positions turn")

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.d_model % self.heads or (self.d_model // self.heads) % 2:
            raise ValueError(
                f"heads is {self.heads} and d_model {self.d_model}; the heads must divide the width into even parts"
            )
        return self


class PeriodicCorpusSpec(Spec):
    """Random strings repeated at random periods."""

    kind: Literal["periodic"] = "periodic"
    vocabulary: int = Field(default=32, ge=10, le=4096)


class TextCorpusSpec(Spec):
    """Text with a byte-level BPE trained on it: a file's or a folder's, or the Python standard library's sources."""

    kind: Literal["text"] = "text"
    path: str | None = Field(default=None, description="a text file, or a folder of them; the standard library if None")
    sha256: str = Field(description="of the text")
    vocabulary: int = Field(default=4096, ge=300, le=65536)


CorpusSpec = Annotated[PeriodicCorpusSpec | TextCorpusSpec, Field(discriminator="kind")]


class PocketSpec(HashedSpec):
    """A family of small GPT-NeoX models, several sizes by several seeds, with checkpoints on Pythia's schedule."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    models: tuple[PocketModelSpec, ...] = Field(min_length=1)
    seeds: int = Field(default=4, ge=1, le=256)
    corpus: CorpusSpec
    length: int = Field(default=32, ge=4, le=8192, description="tokens in a sequence")
    batch: int = Field(default=64, ge=1, description="sequences in a batch")
    steps: int = Field(ge=1)
    every: int = Field(ge=1, description="checkpoints at 0, 1, 2, 4, ... below this, then at its multiples")
    learning_rate: float = Field(default=2e-3, gt=0.0, le=10.0)
    warmup: int = Field(default=20, ge=0, description="steps over which the learning rate rises linearly")
    weight_decay: float = Field(default=0.01, ge=0.0)
    master_seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"models are named {', '.join(names)}; names must differ")
        return self
