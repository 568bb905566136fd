"""Description of a monitored training: what is measured, and when something counts as there."""

from pydantic import Field

from saltus.specs.base import Spec
from saltus.specs.training import ScheduleSpec


class MonitorSpec(Spec):
    """What a monitor measures of a training that saltus does not control."""

    group: str = Field(description="size or arm: what seeds are compared within")
    seed: str = "0"
    capabilities: tuple[str, ...] = Field(default=(), description="names; a function of the user's by its own name")
    patterns: tuple[str, ...] = Field(default=(), description="names of known patterns")
    scalars: tuple[str, ...] = Field(default=(), description="names of the user's own numbers")
    sha256: str = Field(description="of the tokens of the probe batch and of all prompts")
    schedule: ScheduleSpec = ScheduleSpec(every=100)
    at_most: float | None = Field(
        default=0.02, gt=0.0, le=1.0, description="seconds of probes in each second of training; None for no bound"
    )
    threshold: float = Field(default=0.75, gt=0.0, le=1.0, description="share of right prompts of a capability")
    sharp: float = Field(
        default=0.5, gt=0.0, lt=1.0, description="mass of a head's pattern, as a share of the way from chance to 1"
    )
    hold: int = Field(default=2, ge=1, le=1000, description="probes in a row that confirm an event")

    @property
    def unhashed(self) -> frozenset[str]:
        """How often it is measured, and how the results are read: that may change when a training is resumed."""
        return frozenset({"schedule", "at_most", "threshold", "sharp", "hold"})
