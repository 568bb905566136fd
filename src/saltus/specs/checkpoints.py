"""Descriptions of what is done with the checkpoints of a suite: scans, patches and audits."""

import hashlib
from typing import Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from saltus.specs.base import DIGITS, Spec, digest
from saltus.specs.capabilities import CapabilitySpec, list_named
from saltus.specs.criteria import CriterionSpec

Precision = Literal["float32", "bfloat16", "float16"]
Strategy = Literal["grid", "bisect", "robust"]
Followed = Literal["sets", "prompts"]
Stage = Literal["scores", "pattern"]
Queries = Literal["all", "last"]
PatternName = Literal["previous_token", "duplicate_token", "induction", "first_token"]
EffectKind = Literal["patch", "reverse", "self", "shuffled", "zero", "mean", "resample", "uniform"]
"""What is put in the place of a head's pattern, and where: `patch` is the question, the others are its controls."""
EffectUnit = Literal["probability", "log-probability", "logit-difference"]
"""What a patch changes: the target's probability, its log, or its logit less that of the best foil."""


_BOS = "put the tokenizer's token for the beginning of a text before each prompt"


class ScanSpec(Spec):
    """When did capabilities emerge, for each size and seed of a suite?"""

    suite: str = Field(description="'pythia', 'polypythias', 'folder:PATH', 'hub:OWNER/NAME' or 'manifest:FILE'")
    sizes: tuple[str, ...] = Field(default=(), description="empty for all")
    seeds: tuple[str, ...] = Field(default=(), description="empty for all")
    steps: tuple[str, ...] = Field(
        default=(), description="steps such as '1000', and ranges with both ends such as '1000:20000'; empty for all"
    )
    capabilities: tuple[CapabilitySpec, ...] = Field(min_length=1)
    criteria: tuple[CriterionSpec, ...] = Field(
        default=(), description="when a prompt is right, for each capability in its order; empty for the usual ones"
    )
    strategy: Strategy = "robust"
    coarse: int = Field(default=16, ge=2, description="checkpoints of the robust strategy's first grid")
    follow: Followed = Field(
        default="sets", description="the jumps that a strategy looks for: of sets alone, or of each prompt too"
    )
    threshold: float = Field(
        default=0.75, gt=0.0, le=1.0, description="share of right prompts with which a set is there"
    )
    precision: Precision = "float32"
    patterns: tuple[PatternName, ...] = Field(default=(), description="known patterns to look for in every head")
    tokenizer: str | None = Field(default=None, description="folder of the tokenizer; the checkpoints' own if None")
    bos: bool = Field(default=False, description=_BOS)
    master_seed: int = Field(default=0, ge=0, lt=2**32)

    @property
    def former_hash(self) -> str:
        """The hash by which version 0.1 named its folders."""
        return _hash_without(self, "steps", "criteria", "follow", "patterns", "tokenizer", "bos")

    @field_validator("steps")
    @classmethod
    def _check_steps(cls, steps: tuple[str, ...]) -> tuple[str, ...]:
        for text in steps:
            read_range(text)
        return steps

    @model_validator(mode="after")
    def _check_capabilities(self) -> Self:
        named = list_named()
        kinds = [capability.kind for capability in self.capabilities if capability.kind in named]
        if repeated := {kind for kind in kinds if kinds.count(kind) > 1}:
            raise ValueError(f"capabilities name {min(repeated)!r} more than once; each may be asked once in a scan")
        if self.criteria and len(self.criteria) != len(self.capabilities):
            raise ValueError(
                f"criteria has {len(self.criteria)} and capabilities {len(self.capabilities)}; give one each, or none"
            )
        return self

    @property
    def criterion_of(self) -> dict[str, CriterionSpec]:
        """When a prompt is right, by the name of its capability."""
        criteria = self.criteria or tuple(capability.usual for capability in self.capabilities)
        return {capability.name: found for capability, found in zip(self.capabilities, criteria, strict=True)}


class PatchSpec(Spec):
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
    exact: int = Field(default=16, ge=0, description="heads measured exactly, the first of the screen; 0 for all")
    effects: tuple[EffectKind, ...] = Field(default=get_args(EffectKind), description="effects of each of these heads")
    rows: int = Field(default=256, ge=1, description="sequences in a pass; fewer take less memory")
    precision: Precision = "float32"
    tokenizer: str | None = Field(default=None, description="folder of the tokenizer; the checkpoints' own if None")
    bos: bool = Field(default=False, description=_BOS)
    master_seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("capability")
    @classmethod
    def _check_capability(cls, capability: CapabilitySpec) -> CapabilitySpec:
        if capability.kind == "text":
            raise ValueError(
                f"capability: {capability.name} is a text; a patch asks for single answers, so give prompts"
            )
        return capability

    @field_validator("effects")
    @classmethod
    def _order_kinds(cls, kinds: tuple[EffectKind, ...]) -> tuple[EffectKind, ...]:
        if "patch" not in kinds:
            raise ValueError("effects lack 'patch', which the others are controls of; add it")
        return tuple(kind for kind in get_args(EffectKind) if kind in kinds)

    @property
    def former_hash(self) -> str:
        """The hash by which version 0.1 named its folders; it measured all heads, with all controls."""
        return _hash_without(self, "exact", "effects", "tokenizer", "bos")


class AuditSpec(Spec):
    """Are the checkpoints of a suite what they say they are?"""

    suite: str = Field(description="as for a scan")

    @property
    def former_hash(self) -> str:
        """The hash by which version 0.1 named its folders."""
        return hashlib.sha256(self.suite.encode()).hexdigest()[:DIGITS]


def read_range(text: str) -> tuple[int, float]:
    """The first and the last step of a text such as `1000`, `1000:20000`, `1000:` or `:20000`.

    >>> read_range("1000:")
    (1000, inf)
    """
    first, colon, last = text.partition(":")
    if not all(end.isdecimal() or (colon and not end) for end in ((first, last) if colon else (first,))) or text == ":":
        raise ValueError(f"{text!r} is no step and no range of steps; write 1000, 1000:20000, 1000: or :20000")
    begin = int(first or 0)
    end = (float(int(last)) if last else float("inf")) if colon else float(begin)
    if end < begin:
        raise ValueError(f"{text!r} ends before it begins; write the smaller step first")
    return begin, end


def _hash_without(spec: Spec, *later: str) -> str:
    """The hash of all keys, but of those of `later`, which version 0.1 did not know, that are at their defaults."""
    left_out = {name for name in later if getattr(spec, name) == type(spec).model_fields[name].default}
    return digest(spec.model_dump(mode="json", exclude=left_out))
