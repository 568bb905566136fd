"""Descriptions of curricula: phases at the start of a run, which train on something else than its task, the target.

A phase is added here, with the class that its description builds.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from saltus.specs.base import Spec
from saltus.specs.interventions import Indices, RepeatSpec
from saltus.specs.kinds import of_kind
from saltus.specs.models import BackboneSpec
from saltus.specs.tasks import SyntheticSpec, TaskSpec

__all__ = [
    "InputBiasPhase",
    "MixturePhase",
    "RepeatPhase",
    "RowsPhase",
    "SizePhase",
    "SparsityPhase",
    "SymbolsPhase",
]


class BasePhaseSpec(Spec):
    """What every phase has: its end. A phase has as many sequences in a batch as the run."""

    builds: ClassVar[str]
    """Where the phase is, as `module:Class`: `saltus.train.phases.base.Phase`."""

    kind: Any
    """A string, and one literal in each kind."""
    steps: int = Field(ge=1, le=100_000_000, description="of the phase; the most, where it ends once it is solved")
    until_solved: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="share of the units of the phase's own task: it ends at the first evaluation at which so many have "
        "a progress of emergence.threshold; each seed goes on by itself",
    )

    def count_tokens(self, task: SyntheticSpec) -> int:
        """Tokens in a sequence of the phase."""
        return task.tokens

    def check(self, task: SyntheticSpec, model: BackboneSpec) -> None:
        """Raise a ValueError if this cannot be a phase of a run with this task and this model."""
        if self.count_tokens(task) < task.tokens and model.kind == "custom":
            raise ValueError(
                "its sequences are shorter than the target's, and a mixer of one's own may have a parameter for each "
                "position; take a model of saltus, or a phase of full length"
            )


class MixedSpec(BasePhaseSpec):
    """A phase with sequences that are not drawn as the target's."""

    probability: float = Field(
        default=1.0, ge=0.0, le=1.0, description="that a sequence is one of the phase's; the others are the target's"
    )


class EasedSpec(MixedSpec):
    """A phase with the target made easier, or its placebo, another task made easier in the same way."""

    source: Literal["target", "other"] = Field(
        default="target",
        description="'other' is the placebo: what the task draws once (A, rules) is drawn anew for the phase",
    )


class SparsityPhase(EasedSpec):
    """Fewer keys for each query, the first of its true ones, so that the pattern is a part of the target's.

    Of a linear map the first ones of each row of A; of a sparse parity the first of its bits; of a cellular automaton
    the cells in the middle of the window, the others being read as 0.
    """

    builds: ClassVar[str] = "saltus.train.phases.sparsity:Sparsity"

    kind: Literal["sparsity"] = "sparsity"
    keys: int = Field(ge=1, description="of each query; fewer than the target's")


class SizePhase(EasedSpec):
    """Shorter context: the first tokens of each sequence, at the first positions. The loss is that of these alone.

    Of a linear map or a cellular automaton, size * states tokens are fewer states.
    """

    builds: ClassVar[str] = "saltus.train.phases.size:Size"

    kind: Literal["size"] = "size"
    tokens: int = Field(ge=2, description="of a sequence")

    def count_tokens(self, task: SyntheticSpec) -> int:
        """Where some sequences are whole, the others are filled up to their length."""
        return self.tokens if self.probability == 1.0 else task.tokens

    def check(self, task: SyntheticSpec, model: BackboneSpec) -> None:
        """As of every phase; and not longer than the target."""
        _check_length(self.tokens, task)
        super().check(task, model)


class SymbolsPhase(EasedSpec):
    """Fewer symbols in the inputs (the first state, the bits); what follows from them is the target's own."""

    builds: ClassVar[str] = "saltus.train.phases.inputs:Symbols"

    kind: Literal["symbols"] = "symbols"
    symbols: int = Field(ge=2, description="the first so many of the vocabulary, equally likely")

    def check(self, task: SyntheticSpec, model: BackboneSpec) -> None:
        """As of every phase; and within the vocabulary."""
        if self.symbols > task.vocabulary:
            raise ValueError(
                f"symbols is {self.symbols} and the target has {task.vocabulary}; a phase may not change the "
                "vocabulary, whose vectors are parameters, so take at most that"
            )
        super().check(task, model)


class InputBiasPhase(EasedSpec):
    """Biased inputs, annealed (arXiv 2301.13833): symbol 0 with a probability, the others equally likely."""

    builds: ClassVar[str] = "saltus.train.phases.inputs:InputBias"

    kind: Literal["input_bias"] = "input_bias"
    zero: float = Field(ge=0.0, le=1.0, description="probability of symbol 0 at the first step of the phase")
    schedule: Literal["constant", "linear", "cosine"] = Field(
        default="linear", description="how it goes to 1 / symbols, where it is at the end of `steps`"
    )

    def anneal(self, last: float, step: int) -> float:
        """The probability at a step of the phase: `zero` at step 0, and `last` at the end unless it is constant."""
        share = step / self.steps
        gone = {"constant": 0.0, "linear": share, "cosine": (1.0 - math.cos(math.pi * share)) / 2.0}
        return self.zero + (last - self.zero) * gone[self.schedule]


class RowsPhase(BasePhaseSpec):
    """The loss of some units alone, on the target's own sequences. Predictions of no unit stay in the loss."""

    builds: ClassVar[str] = "saltus.train.phases.rows:Rows"

    kind: Literal["rows"] = "rows"
    units: Indices | None = Field(default=None, description="which units; instead of a number")
    number: int | None = Field(default=None, ge=1, description="how many units; instead of naming them")
    choice: Literal["first", "drawn", "changing"] = Field(
        default="first",
        description="of a number: the first units; others that are drawn once for the run; or, the placebo, units that "
        "are drawn anew at each step, so that none comes first",
    )

    @model_validator(mode="after")
    def _check_units(self) -> Self:
        if (self.units is None) == (self.number is None) or (self.units and self.choice != "first"):
            raise ValueError(
                f"units is {self.units}, number is {self.number} and choice is {self.choice!r}; give either units, or "
                "a number and how they are chosen"
            )
        return self


class RepeatPhase(BasePhaseSpec):
    """The intervention `repeat` while the phase lasts: sequences of a pool come again."""

    builds: ClassVar[str] = "saltus.train.phases.repeat:Repetition"

    kind: Literal["repeat"] = "repeat"
    pool: RepeatSpec

    @model_validator(mode="after")
    def _check_pool(self) -> Self:
        if self.pool.until is not None:
            raise ValueError(f"pool.until is {self.pool.until}; a phase ends by its own steps, so leave it out")
        return self


class MixturePhase(MixedSpec):
    """Sequences of another, easier task of the same vocabulary, at the first positions; what it draws once is its own.

    The placebo is noise: `NoiseSpec`, of which nothing is learned.
    """

    builds: ClassVar[str] = "saltus.train.phases.mixture:Mixture"

    kind: Literal["mixture"] = "mixture"
    task: TaskSpec

    def count_tokens(self, task: SyntheticSpec) -> int:
        """Where some sequences are the target's, the others are filled up to their length."""
        return self.task.tokens if self.probability == 1.0 else task.tokens

    def check(self, task: SyntheticSpec, model: BackboneSpec) -> None:
        """As of every phase; with the target's vocabulary, and not longer."""
        if self.task.vocabulary != task.vocabulary:
            raise ValueError(
                f"its task has {self.task.vocabulary} symbols and the target {task.vocabulary}; a phase may not change "
                "the vocabulary, whose vectors are parameters, so take a task of as many"
            )
        _check_length(self.task.tokens, task)
        super().check(task, model)


def _check_length(tokens: int, task: SyntheticSpec) -> None:
    if tokens > task.tokens:
        raise ValueError(
            f"its sequences have {tokens} tokens and the target's {task.tokens}; a phase may not change the "
            "parameters, which positions are, so take at most that"
        )


PHASES: dict[str, type[BasePhaseSpec]] = {
    "sparsity": SparsityPhase,
    "size": SizePhase,
    "symbols": SymbolsPhase,
    "input_bias": InputBiasPhase,
    "rows": RowsPhase,
    "repeat": RepeatPhase,
    "mixture": MixturePhase,
}
"""Every kind of phase."""

PhaseSpec = Annotated[SerializeAsAny[BasePhaseSpec], of_kind(PHASES)]


def check_curriculum(
    phases: tuple[BasePhaseSpec, ...], *, task: SyntheticSpec, model: BackboneSpec, steps: int, fixed: str | None
) -> None:
    """Raise a ValueError if these cannot be the phases of a run of so many steps.

    `fixed` is the key of the run that is made for sequences of the target's length, if it has one.
    """
    for place, phase in enumerate(phases):
        try:
            phase.check(task, model)
        except ValueError as error:
            raise ValueError(f"curriculum.{place} ({phase.kind}): {error}") from None
        if fixed and phase.count_tokens(task) < task.tokens:
            raise ValueError(
                f"curriculum.{place} ({phase.kind}) has shorter sequences and {fixed} is given, which is made "
                "for the target's length; leave one of the two out"
            )
    if (total := sum(phase.steps for phase in phases)) > steps:
        raise ValueError(
            f"the phases of the curriculum have {total:,} steps and training.steps is {steps:,}; make the phases "
            "shorter, or the run longer"
        )
