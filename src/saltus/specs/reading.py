"""The description of a reading: which files, and where group, seed, step and values stand in them."""

import re
from typing import Self

from pydantic import Field, field_validator, model_validator

from saltus.specs.base import Spec

LABELS = ("group", "seed", "step")
"""What a pattern may name, as `{group}`."""


class ReadSpec(Spec):
    """Other people's files, read as curves. What is not given is guessed from the files, and said."""

    paths: tuple[str, ...] = Field(min_length=1, description="files, and folders of them")
    pattern: str | None = Field(default=None, description="of paths, such as '{group}-seed{seed}/step{step}/*.json'")
    group: str | None = Field(default=None, description="column of tables")
    seed: str | None = Field(default=None, description="column of tables")
    step: str | None = Field(default=None, description="column of tables")
    unit: str | None = Field(default=None, description="column of tables with what emerges, one row for each")
    value: tuple[str, ...] = Field(default=(), description="metrics, tags or columns of tables that are read")
    only: tuple[str, ...] = Field(default=(), description="units that are read, with * for anything; empty for all")
    chance: float | None = Field(default=None, description="of units whose level of chance is not known")
    ceiling: float | None = Field(default=None, description="of units whose ceiling is not known")

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        named = re.findall(r"\{(.*?)\}", value) if value is not None else ["group"]
        if not named or set(named) - set(LABELS) or len(set(named)) < len(named):
            raise ValueError(
                f"pattern is {value!r}; it names {{group}}, {{seed}} and {{step}}, at least one of them, and each at "
                "most once"
            )
        return value

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        named = [name for name in (self.group, self.seed, self.step, self.unit, *self.value) if name is not None]
        if repeated := {name for name in named if named.count(name) > 1}:
            raise ValueError(f"the column {min(repeated)!r} is named twice; each stands for one thing")
        return self
