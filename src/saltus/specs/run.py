"""The description of a run; the hash of its content is the run's id."""

import json
import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from saltus.specs.base import Spec
from saltus.specs.curricula import PhaseSpec, check_curriculum
from saltus.specs.data import DataSpec
from saltus.specs.interventions import BaseInterventionSpec, InterventionSpecs
from saltus.specs.models import ModelSpec
from saltus.specs.tasks import TaskSpec
from saltus.specs.training import EmergenceSpec, TrainingSpec

_FREE_OF_SHAPE = (
    "learning_rate",
    "warmup",
    "decay",
    "optimizer",
    "betas",
    "momentum",
    "weight_decay",
    "rates",
    "initialisation_scale",
)

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


UNNAMED = "run"
"""The name of a run that was given none; in a study it is named by the keys of its cell."""


class RunSpec(Spec):
    """One run: K seeds of one model on one task, identical but for the seed."""

    name: str = UNNAMED
    task: TaskSpec
    model: ModelSpec
    training: TrainingSpec
    intervention: InterventionSpecs = Field(
        default=None, description="what is done to attention, data or loss while it trains: None, one, or several"
    )
    emergence: EmergenceSpec = Field(
        default=EmergenceSpec(), description="the rule by which the records are read unless another one is given"
    )
    seeds: int = Field(default=8, ge=1, le=4096, description="K; the seeds are 0, 1, ..., K-1")
    master_seed: int = Field(default=0, ge=0, lt=2**32)
    data: DataSpec | None = Field(default=None, description="finite data; fresh sequences at every step if None")
    map: Literal["run", "seed"] = Field(
        default="run",
        description="whether what a task draws once (A, rules) is drawn for the run or for each seed; floor, chance "
        "and corners are then those of seed 0",
    )
    curriculum: tuple[PhaseSpec, ...] = Field(
        default=(), description="phases with which training begins, in their order; evaluation is always on `task`"
    )

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
        if tokens is not None and tokens < self.task.tokens:
            raise ValueError(f"training.batch_tokens is {tokens}; a sequence of the task has {self.task.tokens} tokens")
        return self

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        if self.data is not None and self.batch > self.data.train:
            raise ValueError(
                f"a batch has {self.batch} sequences and data.train is {self.data.train}; a batch has no sequence "
                "twice, so take a batch of at most that"
            )
        if self.map == "seed" and self.intervention is not None:
            raise ValueError(
                "map is 'seed' and an intervention is given; an intervention is one for all seeds, so take map='run'"
            )
        return self

    @model_validator(mode="after")
    def _check_intervention(self) -> Self:
        for intervention in self.interventions:
            intervention.check(self.model)
            if intervention.draws and self.data is not None:
                raise ValueError(
                    f"intervention of kind {intervention.kind!r} and data are given; it draws sequences by itself, and "
                    "those of the test set may be among them; leave one of the two out"
                )
        return self

    @model_validator(mode="after")
    def _check_curriculum(self) -> Self:
        if self.curriculum and self.data is not None:
            raise ValueError(
                "curriculum and data are given; a phase changes what is drawn, and finite data are drawn before; leave "
                "one of the two out"
            )
        check_curriculum(
            self.curriculum,
            task=self.task,
            model=self.model,
            steps=self.training.steps,
            fixed="intervention" if self.interventions else None,
        )
        return self

    @property
    def interventions(self) -> tuple[BaseInterventionSpec, ...]:
        """All of them, in their order."""
        if isinstance(self.intervention, tuple):
            return self.intervention
        return () if self.intervention is None else (self.intervention,)

    @property
    def needs(self) -> frozenset[str]:
        """The run ids of the runs that have to be finished before, in the same folder of results."""
        return frozenset(intervention.needs for intervention in self.interventions if intervention.needs)

    @property
    def steered(self) -> bool:
        """Whether an intervention changes what the model computes, so that it is evaluated without them too."""
        return any(intervention.steers for intervention in self.interventions)

    @property
    def shape(self) -> str:
        """Everything that decides the shape of the arrays and the steps of the schedules.

        Runs of equal shape can be trained together; what they learn, from which map and at which learning rate, may
        differ.
        """
        training = self.training.model_dump(mode="json", exclude=set(_FREE_OF_SHAPE))
        return json.dumps(
            {
                "task": self.task.model_dump(mode="json", exclude=set(self.task.content)),
                "model": self.model.model_dump(mode="json"),
                "training": training | {"batch": self.batch},
                "intervention": [intervention.shape for intervention in self.interventions],
                "curriculum": [phase.model_dump(mode="json") for phase in self.curriculum],
                # A task of one's own may draw which of its predictions are scored.
                "scored": self.master_seed if self.task.kind == "custom" and self.training.loss == "scored" else None,
            },
            sort_keys=True,
        )

    @property
    def batch(self) -> int:
        """Sequences in a batch."""
        return self.training.batch_sequences or (self.training.batch_tokens or 0) // self.task.tokens

    @property
    def run_id(self) -> str:
        """`name-hash`, the name of its folder: the hash of all but how many seeds and, if prolongable, steps."""
        return self.identify(self.name)

    @property
    def prolongable(self) -> bool:
        """Whether a run of more steps begins with this one, bit by bit.

        Not where the learning rate falls over all steps; nor where the last step is evaluated, or its patterns are
        kept, only because it is the last.
        """
        training = self.training
        snapshots = training.patterns or training.influence
        regular = training.evaluate.has(training.steps) and (training.snapshot.has(training.steps) or not snapshots)
        return training.decay == "constant" and regular

    @property
    def folder_hashes(self) -> tuple[str, ...]:
        """As `Spec.folder_hashes`. A folder takes more seeds at any time, and more steps where it is prolongable."""
        own = self._hash({*self.unhashed, "seeds"}, {"training": {"steps"}} if self.prolongable else None)
        return own, self.content_hash, self.former_hash

    def includes(self, other: "RunSpec") -> bool:
        """Whether another run is this one, or the same with fewer seeds or steps."""
        fewer = other.seeds <= self.seeds and other.training.steps <= self.training.steps
        return fewer and other.folder_hashes[0] == self.folder_hashes[0]

    @property
    def unhashed(self) -> frozenset[str]:
        """The name; and the rule, which belongs to reading, unless training, or a phase of it, stops by it."""
        ruled = self.training.stop_when_solved or any(phase.until_solved for phase in self.curriculum)
        return frozenset({"name"} if ruled else {"name", "emergence"})

    @property
    def former_hash(self) -> str:
        """The hash by which version 0.1 named its folders: the rule was always part of it."""
        return self._hash({"name"})

    def with_overrides(self, *, seeds: int | None = None, steps: int | None = None) -> "RunSpec":
        """The same run with another number of seeds or steps, validated again."""
        values = self.model_dump(warnings=False)  # the validation below says it better
        if seeds is not None:
            values["seeds"] = seeds
        if steps is not None:
            values["training"]["steps"] = steps
        return RunSpec(**values)
