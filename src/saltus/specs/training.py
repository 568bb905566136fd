"""Descriptions of how a run is trained and what counts as emergence."""

from collections.abc import Iterator
from itertools import count, takewhile
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from saltus.specs.base import Spec


class ScheduleSpec(Spec):
    """Steps that grow by a factor and are regular from `every` on: 0, first, first*factor, ..., every, 2*every, ..."""

    first: int = Field(default=1, ge=1)
    factor: float = Field(default=2.0, gt=1.0, le=1000.0)
    every: int = Field(default=50, ge=1)

    def list_steps(self, steps: int) -> tuple[int, ...]:
        """Its steps of a run of so many steps, increasing, of which the last is always one.

        >>> ScheduleSpec(first=1, factor=2, every=10).list_steps(35)
        (0, 1, 2, 4, 8, 10, 20, 30, 35)
        """
        return (*takewhile(lambda step: step < steps, self.generate_steps()), steps)

    def generate_steps(self) -> Iterator[int]:
        """0, then growing by the factor up to `every`, then every `every` steps, without end."""
        yield 0
        position = float(self.first)
        while (step := round(position)) < self.every:
            yield step
            position = max(position * self.factor, step + 1)
        yield from count(self.every, self.every)

    def has(self, step: int) -> bool:
        """Whether a step is one of its steps, and not only as the last of a run."""
        return step in self.list_steps(step + 1)


class EmergenceSpec(Spec):
    """When a unit counts as there: its progress is at least `threshold` at `hold` evaluations in a row."""

    threshold: float = Field(default=0.9, gt=0.0, le=1.0, description="share of the way from chance to floor loss")
    hold: int = Field(default=2, ge=1, le=1000, description="evaluations in a row")


class TrainingSpec(Spec):
    """How every seed of a run is trained. All lengths are in steps, all losses in nats for each prediction."""

    steps: int = Field(ge=1, le=100_000_000)
    batch_sequences: int | None = Field(default=None, ge=1, description="sequences in a batch")
    batch_tokens: int | None = Field(default=None, ge=1, description="tokens in a batch, instead of sequences")
    learning_rate: float = Field(default=1e-3, gt=0.0, le=10.0)
    warmup: int = Field(default=100, ge=0, description="steps over which the learning rate rises linearly")
    decay: Literal["constant", "cosine"] = "constant"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0.0)
    loss: Literal["sequence", "scored"] = Field(default="sequence", description="'sequence' is the paper's")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="of matrix products")
    initialisation_scale: float = Field(
        default=1.0, gt=0.0, le=100.0, description="factor on each initial matrix, but for logarithms"
    )
    patterns: bool = Field(default=True, description="measure attention; False spares the memory of every pattern")
    influence: bool = Field(
        default=False, description="measure at each snapshot, and at the end, what each token moves"
    )
    compile: bool = Field(default=True, description="compile the training step; pays from some minutes of training on")
    evaluation_sequences: int = Field(default=256, ge=1)
    evaluate: ScheduleSpec = ScheduleSpec()
    snapshot: ScheduleSpec = Field(default=ScheduleSpec(), description="steps whose patterns are kept")
    checkpoint: ScheduleSpec = Field(default=ScheduleSpec(every=500), description="steps whose weights are kept")
    stop_when_solved: bool = Field(default=False, description="stop each seed once it has solved every unit")

    @field_validator("betas")
    @classmethod
    def _check_betas(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0.0 <= beta < 1.0 for beta in value):
            raise ValueError(f"betas are {value}; both must lie in [0, 1)")
        return value

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if (self.batch_sequences is None) == (self.batch_tokens is None):
            raise ValueError(
                f"batch_sequences is {self.batch_sequences} and batch_tokens is {self.batch_tokens}; give exactly one"
            )
        return self
