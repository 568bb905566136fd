"""All interventions of a run as one: logits and losses are added, factors multiplied, changes of data chained."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from saltus.models.decoder import Decoder
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.specs.kinds import find_class
from saltus.tasks.base import Task
from saltus.train.interventions.base import Intervention, Weights

Part = TypeVar("Part")
Whole = TypeVar("Whole")


class Several(Intervention):
    """Interventions that act together; none does nothing."""

    def __init__(self, parts: Sequence[Intervention]) -> None:
        self._parts = parts
        self._logits: Kept[Tensor, Tensor] = Kept(lambda logits: reduce(torch.add, logits))
        self._factors: Kept[Mapping[str, Tensor], Mapping[str, Tensor]] = Kept(_multiply)

    def initialise(self, weights: Weights) -> Weights:
        """What the last one makes of what those before it made."""
        for part in self._parts:
            weights = part.initialise(weights)
        return weights

    def logits(self, step: int) -> Tensor | None:
        """The sum."""
        return self._logits.of([part.logits(step) for part in self._parts])

    def factors(self, step: int) -> Mapping[str, Tensor] | None:
        """The product, by name."""
        return self._factors.of([part.factors(step) for part in self._parts])

    def data(self, step: int, tokens: Tensor, generator: np.random.Generator) -> Tensor:
        """What the last one makes of what those before it made."""
        for part in self._parts:
            tokens = part.data(step, tokens, generator)
        return tokens

    def loss(
        self, step: int, model: Decoder, tokens: Tensor, bias: Tensor | None
    ) -> Callable[[Weights], Tensor] | None:
        """The sum."""
        asked = [part.loss(step, model, tokens, bias) for part in self._parts]
        added = [each for each in asked if each is not None]
        return (lambda weights: torch.stack([each(weights) for each in added]).sum()) if added else None


class Kept(Generic[Part, Whole]):
    """What is made of several parts, kept until one of them is another object; None if there is no part."""

    def __init__(self, make: Callable[[list[Part]], Whole]) -> None:
        self._make = make
        self._parts: list[Part] = []
        self._whole: Whole | None = None

    def of(self, asked: Sequence[Part | None]) -> Whole | None:
        """The whole of those that are not None."""
        parts = [part for part in asked if part is not None]
        if len(parts) != len(self._parts) or any(new is not old for new, old in zip(parts, self._parts, strict=True)):
            self._parts, self._whole = parts, self._make(parts)
        return self._whole


def build_interventions(spec: RunSpec, task: Task, beside: Path | None = None) -> Several:
    """The interventions that a run describes, on its task.

    `beside` is the folder of results in which the runs lie that it needs; without it these are not read yet.

    Raises:
        SaltusError: if one of them cannot be done on this task, or what it needs is not there.

    """
    streams, parts = Streams(spec.master_seed), list[Intervention]()
    for place, each in enumerate(spec.interventions):
        part: Intervention = find_class(each.builds)(each, spec.model, task, streams.generator("intervention", place))
        if beside is not None:
            part.open(beside)
        parts.append(part)
    return Several(parts)


def _multiply(parts: list[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    product: dict[str, Tensor] = {}
    for part in parts:
        for name, factor in part.items():
            product[name] = product[name] * factor if name in product else factor
    return product
