"""Descriptions of interventions: changes to attention, data or loss while a model trains.

An intervention is added here, with the class that its description builds.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from saltus.specs.base import Spec
from saltus.specs.kinds import some_of_kind
from saltus.specs.models import BackboneSpec

Index = Annotated[int, Field(ge=0)]
Indices = Annotated[tuple[Index, ...], Field(min_length=1)]

__all__ = ["BiasSpec", "ClampSpec", "DistillationSpec", "RepeatSpec", "SupervisionSpec", "TemperatureSpec"]


class BaseInterventionSpec(Spec):
    """What every intervention has."""

    builds: ClassVar[str]
    """Where the intervention is, as `module:Class`: `saltus.train.interventions.base.Intervention`."""
    steers: ClassVar[bool] = False
    """Whether it changes what the model computes (attention logits, weights): then the model is also evaluated without
    it."""
    draws: ClassVar[bool] = False
    """Whether it draws sequences of the task by itself."""

    kind: Any
    """A string, and one literal in each kind."""

    @property
    def needs(self) -> str | None:
        """The run id of a run that has to be finished before."""
        return None

    @property
    def shape(self) -> Any:
        """What decides the shape of the arrays, and so which runs can be trained together: a JSON value."""
        return self.kind

    def count_work(self, steps: float) -> float:
        """What it adds to so many steps, as steps of training: the patterns of some sequences are worked out again."""
        return 0.0

    def check(self, model: BackboneSpec) -> None:
        """Raise a ValueError if this cannot be done to such a model."""


class AttentionSpec(BaseInterventionSpec):
    """An intervention on chosen heads, until a step. What is left at None is all layers, all heads, all steps."""

    layers: Indices | None = None
    heads: Indices | None = Field(default=None, description="of each chosen layer")
    until: int | None = Field(default=None, ge=1, description="steps after which attention is released")

    @property
    def shape(self) -> Any:
        """Which axes its arrays have, and when it is released."""
        return [self.kind, self.layers is None, self.heads is None, self.until]

    def check(self, model: BackboneSpec) -> None:
        """Raise a ValueError if the model has no attention, or not so many layers or heads."""
        if not model.attention_heads:
            raise ValueError(f"intervention changes attention, which model.kind {model.kind!r} does not have")
        self.check_heads(model.layers, model.attention_heads)

    def check_heads(self, layers: int, heads: int) -> None:
        """Raise a ValueError if a model has not so many layers or heads."""
        for name, chosen, number in (("layers", self.layers, layers), ("heads", self.heads, heads)):
            if chosen and max(chosen) >= number:
                raise ValueError(f"intervention.{name} names {max(chosen)}; the model has {name} 0 to {number - 1}")


class ScheduledSpec(AttentionSpec):
    """One whose strength may change from step 0 until it is released."""

    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="constant", description="how the strength goes from its first value to that of the release"
    )

    @model_validator(mode="after")
    def _check_schedule(self) -> Self:
        if self.schedule != "constant" and self.until is None:
            raise ValueError(f"schedule is {self.schedule!r} and until is not given; say by which step it has ended")
        return self

    def anneal(self, first: float, last: float, step: int) -> float:
        """The strength at a step: `first` at step 0, and `last` from `until` on."""
        if self.until is None:
            return first
        if step >= self.until:
            return last
        gone = {"constant": 0.0, "linear": step / self.until, "cosine": (1 - math.cos(math.pi * step / self.until)) / 2}
        return first + (last - first) * gone[self.schedule]


class BiasSpec(ScheduledSpec):
    """c is added to the attention logits of chosen keys during training: c*A (the paper, bias intervention).

    What is left at None is everything: all units, all of a query's keys, all layers, all heads, all steps.
    """

    builds: ClassVar[str] = "saltus.train.interventions.bias:Bias"
    hashed_kind: ClassVar[bool] = False
    steers: ClassVar[bool] = True

    kind: Literal["bias"] = "bias"
    strength: float = Field(ge=-100.0, le=100.0, description="c, in logits; 0 once released")
    toward: Literal["truth", "placebo", "blocked"] = Field(
        default="truth",
        description="the true keys; or as many others of the state before, drawn once for each unit; or away from the "
        "true keys, which are then out of reach for these queries",
    )
    units: Indices | None = Field(default=None, description="only the queries of these units are biased")
    keys: int | None = Field(default=None, ge=1, description="only the first so many keys of each query")


class TemperatureSpec(ScheduledSpec):
    """Attention logits times a factor, 1/T: below 1 heads look around, above 1 they choose.

    The factor is one on the query rows of `query_key_value`, so that gradients are those of the model that computes.
    """

    builds: ClassVar[str] = "saltus.train.interventions.temperature:Temperature"
    steers: ClassVar[bool] = True

    kind: Literal["temperature"] = "temperature"
    factor: float = Field(ge=0.0, le=1000.0, description="1/T at step 0")
    last: float = Field(default=1.0, ge=0.0, le=1000.0, description="1/T from `until` on")
    rows: Literal["queries", "values"] = Field(
        default="queries", description="'values' is the placebo: as strong, and it moves no attention"
    )

    @model_validator(mode="after")
    def _check_last(self) -> Self:
        if self.last != 1.0 and self.until is None:
            raise ValueError(f"last is {self.last:g} and until is not given; say from which step on it is the factor")
        return self


class ClampSpec(AttentionSpec):
    """The pattern of chosen heads is fixed: even attention to a query's true keys, and to all earlier tokens where it
    has none.
    """

    builds: ClassVar[str] = "saltus.train.interventions.clamp:Clamp"
    steers: ClassVar[bool] = True

    kind: Literal["clamp"] = "clamp"
    toward: Literal["truth", "placebo"] = Field(default="truth", description="as of a bias")


class PatternLossSpec(ScheduledSpec):
    """A divergence between the patterns of heads and given ones that is added to the loss."""

    weight: float = Field(ge=0.0, le=1000.0, description="factor on the divergence; 0 once released")
    match: Literal["best", "all"] = Field(
        default="best", description="the head with the smallest divergence, or the mean over the chosen heads"
    )
    share: float = Field(
        default=1 / 16,
        gt=0.0,
        le=1.0,
        description="of a batch's sequences, whose patterns are supervised; at least one",
    )

    def count_work(self, steps: float) -> float:
        """A step of training on the share, at most, until it is released."""
        return self.share * min(steps, self.until or steps) if self.weight else 0.0


class SupervisionSpec(PatternLossSpec):
    """The divergence KL(truth || pattern) is added to the loss, the truth being even over a query's true keys.

    In nats, mean over the queries of a unit, then over units; the best head is found for each unit by itself.
    """

    builds: ClassVar[str] = "saltus.train.interventions.supervision:Supervision"

    kind: Literal["supervision"] = "supervision"
    toward: Literal["truth", "placebo"] = Field(
        default="truth",
        description="the placebo is that of a bias; where the truth varies it is the truth of another sequence",
    )
    units: Indices | None = Field(default=None, description="only the queries of these units")


class DistillationSpec(ScheduledSpec):
    """A student's patterns are drawn toward a teacher's, or its queries and keys begin as the teacher's.

    The divergence KL(teacher || student) is in nats, mean over a unit's queries, units and the teacher's heads, each of
    which goes to the student's head that is nearest to it for that unit. The placebo is the teacher before training:
    `checkpoints=(0,)`.
    """

    builds: ClassVar[str] = "saltus.train.interventions.distillation:Distillation"

    kind: Literal["distillation"] = "distillation"
    teacher: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}-[0-9a-f]{10}$",
        description="the run id, name-hash, of a run that is finished in the same folder of results",
    )
    seed: int = Field(default=0, ge=0, description="of the teacher")
    checkpoints: tuple[Index, ...] = Field(
        min_length=1, description="steps of the teacher's checkpoints, one after the other: progressive where several"
    )
    stretch: int | None = Field(default=None, ge=1, description="steps of the student with each of them but the last")
    how: Literal["loss", "copy"] = Field(default="loss", description="'copy' is for models of equal heads and width")
    weight: float = Field(default=1.0, ge=0.0, le=1000.0, description="factor on the divergence; 0 once released")
    share: float = Field(default=1 / 16, gt=0.0, le=1.0, description="as of supervision")

    @property
    def needs(self) -> str:
        """The teacher."""
        return self.teacher

    def count_work(self, steps: float) -> float:
        """A step of training on the share, at most, until it is released; the teacher's part is not counted here."""
        return self.share * min(steps, self.until or steps) if self.how == "loss" and self.weight else 0.0

    @model_validator(mode="after")
    def _check_checkpoints(self) -> Self:
        if len(self.checkpoints) > 1 and (self.stretch is None or self.how == "copy"):
            raise ValueError(
                f"checkpoints are {self.checkpoints}, how is {self.how!r} and stretch is {self.stretch}; several need "
                "how='loss' and a stretch, the steps of the student with each"
            )
        return self

    @model_validator(mode="after")
    def _check_copy(self) -> Self:
        given = {name: getattr(self, name) for name in ("layers", "heads", "until")} | {
            "weight": None if self.weight == 1.0 else self.weight,
            "schedule": None if self.schedule == "constant" else self.schedule,
        }
        named = [f"{name} is {value}" for name, value in given.items() if value is not None]
        if self.how == "copy" and named:
            raise ValueError(
                f"{named[0]} and how is 'copy', which copies the queries and keys of all heads before the first step; "
                "leave it out, or take how='loss'"
            )
        return self


class RepeatSpec(BaseInterventionSpec):
    """Each sequence of a batch is, with a probability, one of a pool that is drawn once for the run."""

    builds: ClassVar[str] = "saltus.train.interventions.repeat:Repeat"
    draws: ClassVar[bool] = True

    kind: Literal["repeat"] = "repeat"
    sequences: int = Field(ge=1, le=1_000_000, description="in the pool")
    probability: float = Field(ge=0.0, le=1.0, description="that a sequence of a batch is one of the pool")
    until: int | None = Field(default=None, ge=1, description="steps after which all sequences are fresh again")
    source: Literal["pool", "fresh"] = Field(
        default="pool", description="'fresh' is the placebo: as many sequences are exchanged, for new ones"
    )


INTERVENTIONS: dict[str, type[BaseInterventionSpec]] = {
    "bias": BiasSpec,
    "temperature": TemperatureSpec,
    "clamp": ClampSpec,
    "supervision": SupervisionSpec,
    "distillation": DistillationSpec,
    "repeat": RepeatSpec,
}
"""Every kind of intervention."""

InterventionSpecs = Annotated[
    SerializeAsAny[BaseInterventionSpec] | tuple[SerializeAsAny[BaseInterventionSpec], ...] | None,
    some_of_kind(INTERVENTIONS, default="bias"),
]
"""None, one, or several, which act together."""
