"""What an intervention may do at a step of a pocket run: to attention, data, the loss. The base does nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from saltus.lm.pocket.corpora import Corpus
from saltus.specs.pocket import PocketModelSpec, PocketSpec


@dataclass(frozen=True)
class Around:
    """What surrounds an intervention."""

    suite: PocketSpec
    model: PocketModelSpec
    """The size that is trained."""
    corpus: Corpus
    beside: Path | None
    """The folder of suites in which this one lies; None where there is none."""


class Intervention:
    """A change during the training of one run. Seeds of a suite share it; a step counts updates from 0.

    Whatever it does follows from the step and the arguments alone, never from the steps before: a resumed run is the
    same run. Checkpoints are the model without it.
    """

    def __init__(self, spec: Any, around: Around, generator: np.random.Generator) -> None:
        """`generator` draws what is drawn once for the suite, such as a placebo."""
        self.around = around

    @classmethod
    def check(cls, spec: Any, suite: PocketSpec, model: PocketModelSpec, beside: Path | None) -> None:
        """Raise a SaltusError if this cannot be done to such a model; asked before anything is trained."""

    def initialise(self, model: GPTNeoXForCausalLM) -> None:
        """Change the weights that were drawn, before the first step."""

    def factors(self, step: int) -> Mapping[int, Tensor]:
        """By layer, what the outputs of `query_key_value` are multiplied by, [3 * d_model]; absent where by nothing."""
        return {}

    def data(self, step: int, tokens: Tensor, generator: np.random.Generator) -> Tensor:
        """The batch to train on, [sequence, token], given the one that was drawn.

        `generator` is the seed's and the step's own.
        """
        return tokens

    def loss(self, step: int, model: GPTNeoXForCausalLM, tokens: Tensor) -> Tensor | None:
        """What is added to the training loss on the batch [sequence, token]; None adds nothing."""
        return None
