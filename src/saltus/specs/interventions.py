"""Descriptions of interventions: changes to attention, data or loss while a model trains.

An intervention is added here, with the class that its description builds.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from saltus.specs.base import Spec
from saltus.specs.kinds import of_kind
from saltus.specs.models import BackboneSpec

Index = Annotated[int, Field(ge=0)]
Indices = Annotated[tuple[Index, ...], Field(min_length=1)]

__all__ = ["BiasSpec"]


class BaseInterventionSpec(Spec):
    """What every intervention has."""

    builds: ClassVar[str]
    """Where the intervention is, as `module:Class`: `saltus.train.interventions.base.Intervention`."""

    kind: Any
    """A string, and one literal in each kind."""

    @property
    def shape(self) -> Any:
        """What decides the shape of the arrays, and so which runs can be trained together: a JSON value."""
        return self.kind

    def check(self, model: BackboneSpec) -> None:
        """Raise a ValueError if this cannot be done to such a model."""


class BiasSpec(BaseInterventionSpec):
    """c is added to the attention logits of chosen keys during training: c*A (the paper, bias intervention).

    What is left at None is everything: all units, all of a query's keys, all layers, all heads, all steps.
    """

    builds: ClassVar[str] = "saltus.train.interventions.bias:Bias"
    hashed_kind: ClassVar[bool] = False

    kind: Literal["bias"] = "bias"
    strength: float = Field(ge=-100.0, le=100.0, description="c, in logits")
    toward: Literal["truth", "placebo"] = Field(
        default="truth", description="the true keys, or as many others of the state before, drawn once for each unit"
    )
    units: Indices | None = Field(default=None, description="only the queries of these units are biased")
    keys: int | None = Field(default=None, ge=1, description="only the first so many keys of each query")
    layers: Indices | None = None
    heads: Indices | None = Field(default=None, description="of each biased layer")
    until: int | None = Field(default=None, ge=1, description="steps after which attention is released")

    @property
    def shape(self) -> Any:
        """Which axes the bias has, and when it is released."""
        return [self.layers is None, self.heads is None, self.until]

    def check(self, model: BackboneSpec) -> None:
        """Raise a ValueError if the model has no attention, or not so many layers or heads."""
        if not model.attention_heads:
            raise ValueError(f"intervention biases attention, which model.kind {model.kind!r} does not have")
        for name, chosen, number in (
            ("layers", self.layers, model.layers),
            ("heads", self.heads, model.attention_heads),
        ):
            if chosen and max(chosen) >= number:
                raise ValueError(f"intervention.{name} names {max(chosen)}; the model has {name} 0 to {number - 1}")


INTERVENTIONS: dict[str, type[BaseInterventionSpec]] = {"bias": BiasSpec}
"""Every kind of intervention."""

InterventionSpec = Annotated[SerializeAsAny[BaseInterventionSpec], of_kind(INTERVENTIONS, default="bias")]
