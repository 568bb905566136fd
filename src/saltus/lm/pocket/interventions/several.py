"""All interventions of a pocket run together."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from saltus.lm.pocket.interventions.base import Around, Intervention
from saltus.seeding import Streams
from saltus.specs.kinds import find_class
from saltus.specs.pocket import PocketSpec
from saltus.specs.pocket_interventions import POCKET_INTERVENTIONS


class Several:
    """Interventions that act together; none does nothing."""

    def __init__(self, around: Around) -> None:
        """Those that the suite describes.

        Raises:
            SaltusError: if what one of them needs is not there.

        """
        streams = Streams(around.suite.master_seed)
        self._parts: Sequence[Intervention] = [
            _find(each)(each, around, streams.generator("intervention", place))
            for place, each in enumerate(around.suite.interventions)
        ]

    def initialise(self, model: GPTNeoXForCausalLM) -> None:
        """As each of them does, in their order."""
        for part in self._parts:
            part.initialise(model)

    @contextmanager
    def steering(self, step: int, model: GPTNeoXForCausalLM) -> Generator[None, None, None]:
        """While this lasts the model computes with the factors of all of them."""
        with ExitStack() as hooks:
            for part in self._parts:
                for layer, factor in part.factors(step).items():
                    rows = model.get_submodule(f"gpt_neox.layers.{layer}.attention.query_key_value")
                    hooks.callback(rows.register_forward_hook(_multiply(factor)).remove)
            yield

    def data(self, step: int, tokens: Tensor, generator: np.random.Generator) -> Tensor:
        """What the last one makes of what those before it made."""
        for part in self._parts:
            tokens = part.data(step, tokens, generator)
        return tokens

    def loss(self, step: int, model: GPTNeoXForCausalLM, tokens: Tensor) -> Tensor | None:
        """The sum; None if none of them adds anything."""
        asked = [part.loss(step, model, tokens) for part in self._parts]
        added = [each for each in asked if each is not None]
        return torch.stack(added).sum() if added else None


def check_interventions(suite: PocketSpec, beside: Path | None) -> None:
    """Raise a SaltusError if one of them cannot be done to one of the suite's sizes."""
    for model in suite.models:
        for each in suite.interventions:
            _find(each).check(each, suite, model, beside)


def _multiply(factor: Tensor) -> Callable[[Any, Any, Tensor], Tensor]:
    """A forward hook."""

    def multiply(module: Any, given: Any, output: Tensor) -> Tensor:
        return output * factor

    return multiply


def _find(spec: Any) -> Any:
    _, path = POCKET_INTERVENTIONS[spec.kind]
    return find_class(path)
