"""What an intervention may do at a step: to attention logits, to data, to the loss. The base does nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from saltus.models.decoder import Decoder
from saltus.specs.interventions import BaseInterventionSpec
from saltus.specs.kinds import find_class
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import TaskFacts


class Intervention:
    """A change during the training of one run. Seeds of a run share it; a step counts updates from 0."""

    def __init__(self, spec: Any, model: BackboneSpec, facts: TaskFacts, generator: np.random.Generator) -> None:
        """`generator` draws what is drawn once for the run, such as a placebo."""
        self.spec, self.model_spec, self.facts = spec, model, facts

    def logits(self, step: int) -> Tensor | None:
        """What is added to attention logits, [layer, head, query, key]; None adds nothing, at any step.

        An axis of all layers or heads has length 1. While nothing changes it is the same tensor.
        """
        return None

    def data(self, step: int, tokens: Tensor) -> Tensor:
        """The batch to train on, [sequence, token], given the one that the task drew."""
        return tokens

    def loss(self, step: int, model: Decoder, tokens: Tensor) -> Callable[[dict[str, Tensor]], Tensor] | None:
        """What is added to the training loss: a function of the named weights, differentiable; None adds nothing."""
        return None


def build_intervention(
    spec: BaseInterventionSpec, model: BackboneSpec, facts: TaskFacts, generator: np.random.Generator
) -> Intervention:
    """The intervention that `spec` describes.

    Raises:
        SaltusError: if it cannot be done on a task with these facts.

    """
    return find_class(spec.builds)(spec, model, facts, generator)
