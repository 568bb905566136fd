"""ModelSpec -> module for one seed, an explicit table, and the interface that training expects of it."""

from typing import Protocol

import torch
from torch import Tensor

from saltus.models.transformer import Transformer
from saltus.specs import ModelSpec
from saltus.tasks.base import TaskFacts


class Model(Protocol):
    """What training calls: logits, and patterns where they are measured."""

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor: ...

    def forward_with_patterns(
        self, tokens: Tensor, bias: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]: ...


def build_model(spec: ModelSpec, facts: TaskFacts, init_seed: int) -> Transformer:
    """A freshly initialised model; the same `init_seed` gives the same weights whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        return Transformer(spec, symbols=facts.symbols, length=facts.queries)
