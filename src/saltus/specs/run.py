"""The description of a run; the hash of its content is the run's id."""

import hashlib
import json
import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from saltus.specs.base import Spec
from saltus.specs.interventions import BiasSpec
from saltus.specs.models import ModelSpec
from saltus.specs.tasks import TaskSpec
from saltus.specs.training import EmergenceSpec, TrainingSpec

_FREE_OF_SHAPE = ("learning_rate", "warmup", "decay", "betas", "weight_decay", "initialisation_scale")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class RunSpec(Spec):
    """One run: K seeds of one model on one task, identical but for the seed."""

    name: str
    task: TaskSpec
    model: ModelSpec
    training: TrainingSpec
    intervention: BiasSpec | None = None
    emergence: EmergenceSpec = EmergenceSpec()
    seeds: int = Field(default=8, ge=1, le=4096, description="K; the seeds are 0, 1, ..., K-1")
    master_seed: int = Field(default=0, ge=0, lt=2**32)

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(
                f"name is {value!r}; allowed are 1 to 64 of a-z, 0-9, '.', '_', '-', starting with a letter or digit"
            )
        return value

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        tokens = self.training.batch_tokens
        if tokens is not None and tokens < self.task.length:
            raise ValueError(f"training.batch_tokens is {tokens}; a sequence of the task has {self.task.length} tokens")
        return self

    @model_validator(mode="after")
    def _check_intervention(self) -> Self:
        if self.intervention is None:
            return self
        if not self.model.attention_heads:
            raise ValueError(f"intervention biases attention, which model.kind {self.model.kind!r} does not have")
        for name, number in (("layers", self.model.layers), ("heads", self.model.attention_heads)):
            chosen: tuple[int, ...] | None = getattr(self.intervention, name)
            if chosen and max(chosen) >= number:
                raise ValueError(f"intervention.{name} names {max(chosen)}; the model has {name} 0 to {number - 1}")
        return self

    @property
    def shape(self) -> str:
        """Everything that decides the shape of the arrays and the steps of the schedules.

        Runs of equal shape can be trained together; what they learn, from which map and at which learning rate, may
        differ.
        """
        training = self.training.model_dump(mode="json", exclude=set(_FREE_OF_SHAPE))
        bias = self.intervention
        return json.dumps(
            {
                "task": self.task.model_dump(mode="json", exclude=set(self.task.content)),
                "model": self.model.model_dump(mode="json"),
                "training": training | {"batch": self.batch},
                "bias": bias and [bias.layers is None, bias.heads is None, bias.until],
            },
            sort_keys=True,
        )

    @property
    def batch(self) -> int:
        """Sequences in a batch."""
        return self.training.batch_sequences or (self.training.batch_tokens or 0) // self.task.length

    @property
    def run_id(self) -> str:
        """`name-hash`: `content_hash`, and a name to find it by."""
        return f"{self.name}-{self.content_hash}"

    @property
    def content_hash(self) -> str:
        """Ten hexadecimal digits of everything that decides the numbers, which the name does not.

        Keys at their defaults are left out, so that one that is added later changes none. Hence no default may change.
        """
        values = self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
        content = json.dumps(values | {"kinds": [self.task.kind, self.model.kind]}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:10]

    def with_overrides(self, *, seeds: int | None = None, steps: int | None = None) -> "RunSpec":
        """The same run with another number of seeds or steps, validated again."""
        values = self.model_dump(warnings=False)  # the validation below says it better
        if seeds is not None:
            values["seeds"] = seeds
        if steps is not None:
            values["training"]["steps"] = steps
        return RunSpec(**values)
