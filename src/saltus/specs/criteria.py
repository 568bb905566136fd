"""Descriptions of criteria: when a language model has answered a prompt."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from saltus.errors import SaltusError
from saltus.specs.base import Spec

CriterionKind = Literal["top-1", "margin", "probability", "rank", "loss", "in-context"]

_LEVELS: dict[CriterionKind, float | None] = {
    "margin": 0.0,
    "probability": 0.5,
    "rank": 10.0,
    "loss": None,
    "in-context": 0.2,
}
"""The level of each kind that has one, where none is given; None where one must be."""
_WORDS: dict[CriterionKind, str] = {
    "top-1": "the target is the most probable answer",
    "margin": "the margin over the foil is above {:g} nats",
    "probability": "the target has a probability of at least {:g}",
    "rank": "the rank of the target, from 0, is below {:g}",
    "loss": "the loss on the target is below {:g} nats",
    "in-context": "the loss late in a passage is at least {:g} nats below the loss early in it",
}


class CriterionSpec(Spec):
    """When a prompt is right, and so what a set of prompts is a share of; by a loss a set is there by its mean."""

    kind: CriterionKind = "top-1"
    level: float | None = Field(default=None, description="of the kind; a usual one if None, but a loss has none")

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        if self.kind == "top-1" and self.level is not None:
            raise ValueError(f"level is {self.level:g}; top-1 has none, so leave it out")
        if self.kind == "loss" and self.level is None:
            raise ValueError("level was not given; a loss needs one, in nats, such as loss=2")
        if self.kind == "probability" and not 0.0 < self.limit <= 1.0:
            raise ValueError(f"level is {self.limit:g}; a probability lies above 0 and is at most 1")
        if self.kind in ("rank", "loss", "in-context") and not self.limit > 0.0:
            raise ValueError(f"level is {self.limit:g}; the level of {self.kind} is a number above 0")
        return self

    @property
    def by_mean(self) -> bool:
        """Whether a set is there where its mean is on the right side of the level, and not by a share of prompts."""
        return self.kind in ("loss", "in-context")

    @property
    def limit(self) -> float:
        """The level, given or usual; of top-1, which has none, 0."""
        return (_LEVELS.get(self.kind) or 0.0) if self.level is None else self.level

    def describe(self) -> str:
        """When a prompt is right, as the end of a sentence that begins with where."""
        return _WORDS[self.kind].format(self.limit)


def read_criterion(text: str) -> CriterionSpec:
    """The criterion of a text such as `top-1`, `margin` or `rank=10`.

    Raises:
        SaltusError: if it is none.

    """
    kind, equals, level = text.partition("=")
    try:
        values: dict[str, Any] = {"kind": kind.strip(), "level": float(level) if equals else None}
    except ValueError:
        raise SaltusError(f"criterion: {text!r} was given; write it as in top-1, margin, rank=10 or loss=2") from None
    return CriterionSpec(**values)
