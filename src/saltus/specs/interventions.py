"""Descriptions of what is done to attention while a model trains."""

from typing import Annotated, Literal

from pydantic import Field

from saltus.specs.base import Spec

Index = Annotated[int, Field(ge=0)]
Indices = Annotated[tuple[Index, ...], Field(min_length=1)]


class BiasSpec(Spec):
    """c is added to the attention logits of chosen keys during training: c*A (the paper, bias intervention).

    What is left at None is everything: all units, all of a query's keys, all layers, all heads, all steps.
    """

    strength: float = Field(ge=-100.0, le=100.0, description="c, in logits")
    toward: Literal["truth", "placebo"] = Field(
        default="truth", description="the true keys, or as many others of the state before, drawn once for each unit"
    )
    units: Indices | None = Field(default=None, description="only the queries of these units are biased")
    keys: int | None = Field(default=None, ge=1, description="only the first so many keys of each query")
    layers: Indices | None = None
    heads: Indices | None = Field(default=None, description="of each biased layer")
    until: int | None = Field(default=None, ge=1, description="steps after which attention is released")
