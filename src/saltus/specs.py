"""Frozen, validated descriptions of what is run. An unknown key is an error; the content hash is the run's id."""

import hashlib
import json
import re
import reprlib
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from saltus.errors import SaltusError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Spec(BaseModel):
    """A description: frozen, with no unknown keys, that can be hashed by its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SaltusError(_one_sentence(type(self), error)) from None


class LinearMapSpec(Spec):
    """x_(t+1) = A x_t mod C for a fixed A in {0,1}^(S x S) with exactly s ones in each row (the paper, linear map)."""

    kind: Literal["linear_map"] = "linear_map"
    size: int = Field(ge=1, le=1024, description="S, the number of tokens in a state")
    sparsity: int = Field(ge=1, description="s, the number of ones in each row of A")
    states: int = Field(default=2, ge=2, le=64, description="T, the number of states in a sequence")
    symbols: int = Field(default=2, ge=2, le=64, description="C, the number of symbols; sums are taken mod C")

    @property
    def length(self) -> int:
        """Tokens in a sequence."""
        return self.size * self.states

    @model_validator(mode="after")
    def _check_sparsity(self) -> Self:
        if self.sparsity > self.size:
            raise ValueError(f"sparsity is {self.sparsity}, but a row of size {self.size} has at most {self.size} ones")
        return self


class CellularAutomatonSpec(Spec):
    """Trajectories of a one-dimensional cellular automaton whose rule must be inferred in context (the paper)."""

    kind: Literal["cellular_automaton"] = "cellular_automaton"
    size: int = Field(ge=1, le=4096, description="S, the number of cells")
    symbols: int = Field(default=4, ge=2, le=64, description="C, the number of symbols")
    window: int = Field(default=3, ge=1, description="W, the odd number of cells that a rule reads; it wraps around")
    states: int = Field(default=16, ge=2, le=256, description="T, the number of states in a sequence")
    applications: int = Field(default=1, ge=1, le=64, description="k, rule applications for each transition")
    rules: Annotated[int, Field(ge=1, le=65536)] | Literal["fresh"] = Field(
        default=256, description="N, the pool from which each sequence draws its rule, or 'fresh' for a new rule each"
    )

    @property
    def length(self) -> int:
        """Tokens in a sequence."""
        return self.size * self.states

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.window % 2 == 0 or self.window > self.size:
            raise ValueError(f"window is {self.window}; allowed are odd numbers up to the size {self.size}")
        if self.symbols**self.window > 65536:
            raise ValueError(
                f"symbols**window is {self.symbols**self.window} table entries for a rule; at most 65536 are allowed"
            )
        return self


TaskSpec = Annotated[LinearMapSpec | CellularAutomatonSpec, Field(discriminator="kind")]


class TransformerSpec(Spec):
    """A decoder with pre-normalisation, GELU and written-out attention."""

    kind: Literal["transformer"] = "transformer"
    layers: int = Field(default=1, ge=1, le=64)
    d_model: int = Field(default=128, ge=1, le=8192)
    heads: int = Field(default=8, ge=1, le=1024)
    d_head: int | None = Field(default=None, ge=1, le=1024, description="dimension of a head; d_model / heads if None")
    d_mlp: int | None = Field(default=None, ge=1, le=65536, description="width of the MLP; 4 * d_model if None")
    positions: Literal["learned", "rotary"] = "learned"

    @property
    def head_dimension(self) -> int:
        """d_head, or d_model / heads where it is not given."""
        return self.d_head or self.d_model // self.heads

    @property
    def mlp_width(self) -> int:
        """d_mlp, or 4 * d_model where it is not given."""
        return self.d_mlp or 4 * self.d_model

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.d_head is None and self.d_model % self.heads:
            raise ValueError(
                f"heads is {self.heads}, which does not divide d_model {self.d_model}; "
                "choose a divisor or give d_head, which is free"
            )
        if self.positions == "rotary" and self.head_dimension % 2:
            raise ValueError(f"d_head is {self.head_dimension}; rotary positions need an even number")
        return self


ModelSpec = TransformerSpec


class ScheduleSpec(Spec):
    """Steps that grow by a factor and are regular from `every` on: 0, first, first*factor, ..., every, 2*every, ..."""

    first: int = Field(default=1, ge=1)
    factor: float = Field(default=2.0, gt=1.0, le=1000.0)
    every: int = Field(default=50, ge=1)


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
    compile: bool = Field(default=True, description="compile the training step; pays from some minutes of training on")
    evaluation_sequences: int = Field(default=256, ge=1)
    evaluate: ScheduleSpec = ScheduleSpec()
    snapshot: ScheduleSpec = Field(default=ScheduleSpec(), description="steps whose patterns are kept")
    checkpoint: ScheduleSpec = Field(default=ScheduleSpec(every=500), description="steps whose weights are kept")
    stop_when_solved: bool = Field(default=False, description="stop once every seed has solved every unit")

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


class RunSpec(Spec):
    """One run: K seeds of one model on one task, identical but for the seed."""

    name: str
    task: TaskSpec
    model: ModelSpec
    training: TrainingSpec
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

    @property
    def batch(self) -> int:
        """Sequences in a batch."""
        return self.training.batch_sequences or (self.training.batch_tokens or 0) // self.task.length

    @property
    def run_id(self) -> str:
        """`name-hash`, the hash being of everything that decides the numbers."""
        content = json.dumps(self.model_dump(mode="json", exclude={"name"}), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"

    def with_overrides(self, *, seeds: int | None = None, steps: int | None = None) -> "RunSpec":
        """The same run with another number of seeds or steps, validated again."""
        values = self.model_dump(warnings=False)  # the validation below says it better
        if seeds is not None:
            values["seeds"] = seeds
        if steps is not None:
            values["training"]["steps"] = steps
        return RunSpec(**values)


def _one_sentence(spec: type[Spec], error: ValidationError) -> str:
    """The first problem of a pydantic error as one sentence: field, value, what is allowed."""
    problems = error.errors(include_url=False)
    # A key that is misspelt is missing too: the first says more.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    # What no member of a union takes is one problem, with a message from each member; their names are no place.
    same = [p for p in problems if p["loc"][:1] == first["loc"][:1] and p["input"] is first["input"]]
    parts = [str(part) for part in first["loc"] if isinstance(part, int) or part == first["loc"][0]]
    place = ".".join([spec.__name__, *parts])
    more = len(problems) - len(same)
    tail = f" (and {more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"{place}: there is no such key; allowed are {', '.join(spec.model_fields)}{tail}"
    if first["type"] == "union_tag_not_found":
        return f"{place}: the key {first.get('ctx', {})['discriminator']} is required in it and was not given{tail}"
    if first["type"] == "missing":
        return f"{place}: this key is required and was not given{tail}"
    if first["type"] == "value_error":
        return f"{place}: {first['msg'].removeprefix('Value error, ')}{tail}"
    given = " ".join(reprlib.repr(first["input"]).split())
    allowed = " or ".join(dict.fromkeys(p["msg"][0].lower() + p["msg"][1:] for p in same))
    return f"{place}: {given} was given; {allowed}{tail}"
