"""A cell of a study: a run, and the keys by which its result is found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltus.specs import RunSpec
from saltus.specs.run import UNNAMED

Value = str | int | float | bool
Keys = Mapping[str, Value]


@dataclass(frozen=True, init=False)
class Cell:
    """A run of a study, and the keys by which it is found: `Cell(size=16, sparsity=3, run=RunSpec(...))`."""

    key: Keys
    run: RunSpec
    patterns: bool
    """Whether measures of heads and all snapshots are kept with the records, not the steps and units alone."""
    short: bool
    """Whether its budget is shorter than the paper's, though the size is the paper's."""
    brief: bool
    """Whether its records are kept in float32 and without probabilities of targets: enough to say when units came."""

    def __init__(
        self, *, run: RunSpec, patterns: bool = False, short: bool = False, brief: bool = False, **key: Value
    ) -> None:
        """A run without a name is named by its keys."""
        if run.name == UNNAMED and key:
            values: dict[str, Any] = run.model_dump(warnings=False) | {"name": _name(key)}
            run = RunSpec(**values)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "run", run)
        object.__setattr__(self, "patterns", patterns)
        object.__setattr__(self, "short", short)
        object.__setattr__(self, "brief", brief)

    @property
    def name(self) -> str:
        """The name of its run."""
        return self.run.name

    def fits(self, key: Keys) -> bool:
        """Whether it has these values under these keys, and perhaps others."""
        return all(name in self.key and self.key[name] == value for name, value in key.items())

    def change(self, *, seeds: int | None, steps: int | None) -> "Cell":
        """The same cell with another number of seeds or steps."""
        run = self.run.with_overrides(seeds=seeds, steps=steps)
        return Cell(run=run, patterns=self.patterns, short=self.short, brief=self.brief, **self.key)


def vary_run(template: RunSpec, *, training: Mapping[str, Any], **values: Any) -> RunSpec:
    """The run of `template` with other values, checked again."""
    base = template.model_dump()
    return RunSpec(**(base | values | {"training": base["training"] | training}))


def spell_name(text: str) -> str:
    """Text as the name of a run, with what a name may not have replaced."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "-" for sign in text.lower())[:64]


def _name(key: Keys) -> str:
    """Such as `heads-4-rate-0.001`, from keys and values."""
    return spell_name("-".join(f"{name}-{value}" for name, value in key.items()))
