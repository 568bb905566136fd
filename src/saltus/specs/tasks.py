"""Descriptions of synthetic tasks."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from saltus.specs.base import Spec


class LinearMapSpec(Spec):
    """x_(t+1) = A x_t mod C for a fixed A in {0,1}^(S x S) with exactly s ones in each row (the paper, linear map)."""

    content: ClassVar[frozenset[str]] = frozenset({"sparsity"})
    """Keys that decide what is learnt, and not the shape of the data."""

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

    content: ClassVar[frozenset[str]] = frozenset({"window", "applications", "rules"})
    """Keys that decide what is learnt, and not the shape of the data."""

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
