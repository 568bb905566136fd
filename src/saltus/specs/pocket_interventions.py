"""Descriptions of interventions on the training of pocket suites: those that need no truth map.

An intervention is added here, with the class in `saltus.lm.pocket` that its description builds.
"""

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from saltus.specs.checkpoints import PatternName
from saltus.specs.interventions import (
    BaseInterventionSpec,
    DistillationSpec,
    PatternLossSpec,
    RepeatSpec,
    TemperatureSpec,
)
from saltus.specs.kinds import some_of_kind


class KnownPatternSpec(PatternLossSpec):
    """The divergence KL(known pattern || attention) is added to the loss, the pattern being even over a query's keys.

    In nats, mean over the queries that have a key of the pattern.
    """

    kind: Literal["supervision"] = "supervision"
    pattern: PatternName = Field(description="the known pattern, such as 'previous_token' or 'induction'")
    toward: Literal["pattern", "placebo"] = Field(
        default="pattern",
        description="the placebo has as many keys for each query, other ones: those of the pattern moved around by a "
        "distance that is drawn once for each query",
    )


class PocketDistillationSpec(DistillationSpec):
    """From a run of another suite, whose folder, `name-hash`, is finished beside this one.

    As `DistillationSpec`, but for this: patterns are compared over all queries together.
    """

    size: str = Field(description="of the teacher")


POCKET_INTERVENTIONS: dict[str, tuple[type[BaseInterventionSpec], str]] = {
    "temperature": (TemperatureSpec, "saltus.lm.pocket.interventions.temperature:Temperature"),
    "supervision": (KnownPatternSpec, "saltus.lm.pocket.interventions.supervision:Supervision"),
    "distillation": (PocketDistillationSpec, "saltus.lm.pocket.interventions.distillation:Distillation"),
    "repeat": (RepeatSpec, "saltus.lm.pocket.interventions.repeat:Repeat"),
}
"""By kind the description, and what it builds, as `module:Class`: an `Intervention` of
`saltus.lm.pocket.interventions.base`."""

PocketInterventionSpecs = Annotated[
    SerializeAsAny[BaseInterventionSpec] | tuple[SerializeAsAny[BaseInterventionSpec], ...] | None,
    some_of_kind({kind: description for kind, (description, _) in POCKET_INTERVENTIONS.items()}),
]
"""None, one, or several, which act together."""
