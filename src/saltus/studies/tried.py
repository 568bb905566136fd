"""What a trial asks of a cell that was trained, whatever was trained in it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from saltus.curves import Curves, Emergences
from saltus.measure.outcomes import count_learned
from saltus.specs import RunSpec
from saltus.specs.pocket import PocketSpec
from saltus.studies.cells import Keys, Value
from saltus.studies.flops import Cost

S = TypeVar("S", RunSpec, PocketSpec)

Setting = tuple[float, float]
"""A learning rate and a scale of the initialisation."""


class Tried(ABC, Generic[S]):
    """One cell: several seeds of the same description."""

    @property
    @abstractmethod
    def key(self) -> Keys:
        """The keys by which it is found."""

    @property
    @abstractmethod
    def setting(self) -> Setting:
        """With which it was trained."""

    @property
    @abstractmethod
    def budget(self) -> int:
        """Steps that it could take."""

    @property
    @abstractmethod
    def curves(self) -> Curves:
        """Of every unit of every seed, and of the whole of them."""

    @abstractmethod
    def price(self, steps: float, teacher: S | None = None) -> Cost:
        """What so many steps of one seed cost, with what its teacher did for it."""

    @cached_property
    def units(self) -> Emergences:
        """When each unit of each seed emerged."""
        return self.curves.parts.emergences()

    @cached_property
    def tasks(self) -> Emergences:
        """When the whole task of each seed emerged."""
        return self.curves.wholes.emergences()

    @property
    def learned(self) -> NDArray[np.int64]:
        """[seed] units that emerged and were not lost again."""
        return count_learned(self.units)

    @property
    def evaluated_steps(self) -> NDArray[np.int64]:
        """[evaluation] of any seed, increasing."""
        return np.unique(np.concatenate([curve.steps for curve in self.curves]))


T = TypeVar("T", bound=Tried[Any])


def find_tried(results: Iterable[T], **key: Value) -> list[T]:
    """Those whose keys have these values."""
    return [each for each in results if key.items() <= each.key.items()]


def describe_setting(setting: Setting) -> dict[str, float]:
    """The keys of `TrainingSpec`, and of `PocketSpec`, that it stands for."""
    return {"learning_rate": setting[0], "initialisation_scale": setting[1]}
