"""Descriptions of how a run is trained and what counts as emergence."""

from collections.abc import Iterator
from itertools import count, takewhile
from typing import Annotated, Literal, Self

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
        if step >= self.every:
            return step % self.every == 0
        return step in takewhile(lambda each: each <= step, self.generate_steps())


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
    optimizer: Literal["adamw", "sgd", "muon"] = Field(
        default="adamw", description="'muon' is for the matrices of linear layers, the rest has AdamW then"
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="of AdamW")
    momentum: float | None = Field(default=None, ge=0.0, lt=1.0, description="of 'sgd', 0 if None; of 'muon', 0.95")
    weight_decay: float = Field(default=0.01, ge=0.0)
    rates: dict[str, Annotated[float, Field(ge=0.0, le=100.0)]] = Field(
        default={},
        description="factors on the learning rate, by a weight's name, in which * stands for any letters; a weight "
        "that several names fit has their product",
    )
    loss: Literal["sequence", "scored"] = Field(default="sequence", description="'sequence' is the paper's")
    precision: Literal["float32", "bfloat16"] = Field(default="float32", description="of matrix products")
    initialisation_scale: float = Field(
        default=1.0, gt=0.0, le=100.0, description="factor on each initial matrix, but for logarithms"
    )
    patterns: bool = Field(default=True, description="measure attention; False spares the memory of every pattern")
    influence: bool = Field(
        default=False, description="measure at each snapshot, and at the end, what each token moves"
    )
    compile: bool | Literal["auto", "graphs"] = Field(
        default=True,
        description="compile the training step; 'auto' does where a step is work enough to gain by it, and 'graphs' "
        "records it on a CUDA device as a graph as well",
    )
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
    def _check_optimizer(self) -> Self:
        if self.optimizer == "adamw" and self.momentum is not None:
            raise ValueError(
                f"momentum is {self.momentum} and optimizer is 'adamw', whose momentum is the first of its betas; "
                "give betas, or take 'sgd' or 'muon'"
            )
        if self.optimizer == "sgd" and self.betas != type(self).model_fields["betas"].default:
            raise ValueError(f"betas are {self.betas} and optimizer is 'sgd', which has none; give momentum")
        return self

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        if (self.batch_sequences is None) == (self.batch_tokens is None):
            raise ValueError(
                f"batch_sequences is {self.batch_sequences} and batch_tokens is {self.batch_tokens}; give exactly one"
            )
        return self
