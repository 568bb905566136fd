"""ModelSpec -> module for one seed, an explicit table."""

import torch

from saltus.models.transformer import Transformer
from saltus.specs import ModelSpec
from saltus.tasks.base import TaskFacts


def build_model(spec: ModelSpec, facts: TaskFacts, init_seed: int) -> Transformer:
    """A freshly initialised model; the same `init_seed` gives the same weights whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        return Transformer(spec, symbols=facts.symbols, length=facts.queries)
