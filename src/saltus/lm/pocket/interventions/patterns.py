"""Patterns of a model while it trains, with their gradients, and how far they are from what is wanted."""

from typing import Any

import torch
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from saltus.specs.interventions import AttentionSpec
from saltus.specs.pocket import PocketModelSpec
from saltus.train.interventions.patterns import SMALLEST


def attend(model: GPTNeoXForCausalLM, tokens: Tensor) -> Tensor:
    """Attention on the inputs of [sequence, token], all but the last one: [sequence, layer, head, query, key].

    The usual attention of transformers gives no patterns, and 'eager' does; it is used here alone.
    """
    usual: Any = model.config._attn_implementation  # pyright: ignore[reportPrivateUsage]  # has no public getter
    model.set_attn_implementation("eager")
    try:
        found = model.base_model(tokens[:, :-1], use_cache=False, output_attentions=True).attentions
    finally:
        model.set_attn_implementation(usual)
    return torch.stack(found, dim=1)


def choose_heads(spec: AttentionSpec, model: PocketModelSpec) -> list[int]:
    """The chosen heads, counted through all layers."""
    layers = range(model.layers) if spec.layers is None else spec.layers
    heads = range(model.heads) if spec.heads is None else spec.heads
    return [layer * model.heads + head for layer in layers for head in heads]


def cross_entropy(wanted: Tensor, pattern: Tensor) -> Tensor:
    """[..., query] in nats, of patterns [..., query, key]; of a wanted pattern with itself it is its entropy."""
    return -(wanted * pattern.clamp(min=SMALLEST).log()).sum(-1)
