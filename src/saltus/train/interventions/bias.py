"""A bias on attention: which keys of which queries, in which layers and heads, how strong, and until when."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltus.specs import BiasSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task, TaskFacts
from saltus.train.interventions.base import Intervention
from saltus.train.interventions.keys import choose_keys, find_heads, find_queries


class Bias(Intervention):
    """c is added to the attention logits of chosen keys (the paper, bias intervention), until it is released."""

    def __init__(self, spec: BiasSpec, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        """Refused where the truth varies, since a bias is one array for all sequences."""
        super().__init__(spec, model, task, generator)
        self._bias = spec
        self._chosen = torch.from_numpy(choose_places(spec, model, task.facts, generator))
        self._strength, self._added = 0.0, torch.zeros_like(self._chosen)

    def logits(self, step: int) -> Tensor:
        """As `Intervention.logits`: zeros once it is released."""
        strength = self._bias.anneal(self._bias.strength, 0.0, step)
        if strength != self._strength:
            self._strength, self._added = strength, self._chosen * strength
        return self._added


def choose_places(
    spec: BiasSpec, model: BackboneSpec, facts: TaskFacts, generator: np.random.Generator
) -> NDArray[np.float32]:
    """1 where c is added to attention logits, -1 where it is taken off, [layer, head, query, key]; 0 elsewhere.

    The axis of all layers or heads has length 1. `generator` draws the placebo.
    """
    keys = choose_keys(spec.toward == "placebo", facts, generator) & find_queries(spec.units, facts)[:, None]
    if spec.keys is not None:
        keys &= keys.cumsum(axis=1) <= spec.keys
    where = find_heads(spec, model)[:, :, None, None] & keys
    return where.astype(np.float32) * np.float32(-1.0 if spec.toward == "blocked" else 1.0)
