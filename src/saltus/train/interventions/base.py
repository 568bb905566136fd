"""What an intervention may do at a step: to attention logits, weights, data, the loss. The base does nothing."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from saltus.models.decoder import Decoder
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task

Weights = dict[str, Tensor]
"""The named weights of one seed."""


class Intervention:
    """A change during the training of one run. Seeds of a run share it; a step counts updates from 0.

    Whatever it does follows from the step and the arguments alone, never from the steps before: a resumed run is the
    same run.
    """

    def __init__(self, spec: Any, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        """`generator` draws what is drawn once for the run, such as a placebo."""
        self.spec, self.model_spec, self.task = spec, model, task

    def open(self, beside: Path) -> None:
        """Read what it needs of the run that `spec.needs` names, in the folder `beside`, before anything else."""

    def initialise(self, weights: Weights) -> Weights:
        """The named weights that a seed starts from, given those that were drawn for it."""
        return weights

    def logits(self, step: int) -> Tensor | None:
        """What is added to attention logits, [layer, head, query, key]; None adds nothing, at any step.

        An axis of all layers or heads has length 1. While nothing changes it is the same tensor.
        """
        return None

    def factors(self, step: int) -> Mapping[str, Tensor] | None:
        """What weights are multiplied by before the model computes, by name; None multiplies nothing, at any step.

        A factor has a shape that broadcasts to its weight's. While nothing changes it is the same mapping.
        """
        return None

    def data(self, step: int, tokens: Tensor, generator: np.random.Generator) -> Tensor:
        """The batch to train on, [sequence, token], given the one that the task drew.

        `generator` is the seed's and the step's own.
        """
        return tokens

    def loss(
        self, step: int, model: Decoder, tokens: Tensor, bias: Tensor | None
    ) -> Callable[[Weights], Tensor] | None:
        """What is added to the training loss: a function of the named weights, differentiable; None adds nothing.

        `bias` is what all interventions add to attention logits at this step; the weights are with their factors.
        """
        return None
