"""Descriptions of finite data."""

from typing import Literal

from pydantic import Field

from saltus.specs.base import Spec


class DataSpec(Spec):
    """A training set that is seen again and again, and a test set of other sequences: all of them differ."""

    train: int = Field(ge=1, le=10_000_000, description="sequences of the training set; a batch has none twice")
    test: int = Field(ge=1, le=10_000_000, description="sequences of the test set, on which runs are evaluated")
    draw: Literal["run", "seed"] = Field(default="run", description="both sets once for the run, or for each seed")
