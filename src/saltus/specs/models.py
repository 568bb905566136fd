"""Descriptions of models."""

from typing import Literal, Self

from pydantic import Field, model_validator

from saltus.specs.base import Spec


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
