"""Read and replace the attention of a language model through transformers' own attention interface."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from saltus.errors import SaltusError

Edit = Callable[[int, Tensor, Tensor], Tensor]
"""`(layer, scores, pattern) -> pattern`, all [prompt, head, query, key]; scores are scaled and masked."""

_NAME = "saltus"
_HARMLESS = ("position_ids", "cache_position")  # tensors that come with the call and have been used before it


@dataclass(frozen=True)
class LayerAttention:
    """What the attention of one layer computed; before any edit."""

    module: nn.Module
    """The layer's attention."""
    scores: Tensor
    """[prompt, head, query, key] scaled and masked; the dtype's smallest number where a key is not allowed."""
    pattern: Tensor
    """[prompt, head, query, key] after the softmax."""
    allowed: Tensor
    """[query, key] booleans: whether the mask lets the query see the key."""
    key: Tensor
    """[prompt, key head, key, d_head]"""
    value: Tensor
    """[prompt, key head, key, d_head]"""


@dataclass
class Tap:
    """What one pass asks of the attention, and what it saw."""

    edit: Edit | None = None
    keep: bool = False
    """Whether `layers` is filled."""
    earlier: Mapping[int, tuple[Tensor, Tensor]] = field(default_factory=dict[int, tuple[Tensor, Tensor]])
    """Keys and values that go before those of this pass, by layer."""
    stop: bool = False
    """Whether the pass ends, with `KeysSeen`, as soon as a layer has its keys and values."""
    layers: dict[int, LayerAttention] = field(default_factory=dict[int, LayerAttention])
    calls: list[int] = field(default_factory=list[int])
    """The layers that came by, in order."""


class KeysSeen(Exception):  # noqa: N818 - it ends a pass on purpose
    """What a tap that stops ends the pass with."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        super().__init__()
        self.key = key
        self.value = value


@dataclass(frozen=True)
class TappedPass:
    """The attention patterns of one pass."""

    patterns: tuple[Tensor, ...]
    """For each layer [prompt, head, query, key]."""
    logits: Tensor
    """[prompt, query, symbol]"""


def capture_patterns(model: PreTrainedModel, tokens: Tensor) -> TappedPass:
    """Every attention pattern for `tokens` [prompt, query] (not padded).

    Raises `SaltusError` if the tokens are longer than the model's context, or a layer bypasses the interface.
    """
    tap = Tap(keep=True)
    with torch.no_grad():
        logits = run_tapped(model, tokens, tap)
    return TappedPass(tuple(tap.layers[layer].pattern for layer in sorted(tap.layers)), logits)


@contextmanager
def tapped(model: PreTrainedModel) -> Generator[None, None, None]:
    """Let the model's attention go through `attend`; afterwards it is what it was."""
    # Models inside, such as the text and the image part of a composite one, may each have their own; outer ones first.
    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    before: list[Any] = [part.config._attn_implementation for part in parts]  # pyright: ignore[reportPrivateUsage]  # no public way to read it
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        for part, own in zip(parts, before, strict=True):
            part.set_attn_implementation(own)


def run_tapped(model: PreTrainedModel, tokens: Tensor, tap: Tap, **arguments: Any) -> Tensor:
    """One pass over `tokens` [prompt, query] with the tap in place; its logits.

    `arguments` go to the model. A pass that does not come by every layer once is a `SaltusError`.
    """
    check_length(model, tokens)
    with tapped(model):
        logits: Tensor = model(tokens, tap=tap, **arguments).logits
    layers = int(model.config.get_text_config().num_hidden_layers)
    if sorted(tap.calls) != list(range(layers)):
        raise SaltusError(
            f"{len(set(tap.calls))} of the {layers} layers of {type(model).__name__} take their attention from "
            f"transformers' AttentionInterface, in {len(tap.calls)} calls; patterns can be read and replaced "
            "only in a model where every layer does, once"
        )
    return logits


def check_length(model: PreTrainedModel, tokens: Tensor) -> None:
    """Refuse `tokens` [prompt, position] that are longer than the model's context."""
    longest: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and tokens.shape[1] > longest:
        raise SaltusError(
            f"the prompts have {tokens.shape[1]} tokens and the model's context holds {longest}; use shorter prompts"
        )


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    tap: Tap | None = None,
    **arguments: object,
) -> tuple[Tensor, Tensor]:
    """Attention written out: [prompt, head, query, d_head] -> [prompt, query, head, d_head], and the pattern.

    Sliding windows come with the mask. Whatever else a model hands over and this cannot express is refused.
    """
    layer = _check_call(module, attention_mask, dropout, arguments)
    if tap is not None and layer in tap.earlier:
        key, value = (torch.cat(pair, dim=-2) for pair in zip(tap.earlier[layer], (key, value), strict=True))
    if tap is not None and tap.stop:
        raise KeysSeen(key, value)
    groups = query.shape[1] // key.shape[1]
    keys, values = (x if groups == 1 else x.repeat_interleave(groups, dim=1) for x in (key, value))
    scores = query @ keys.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    assert attention_mask is not None
    scores = scores + attention_mask
    pattern = normalise(scores)
    if tap is not None:
        tap.calls.append(layer)
        if tap.keep:
            allowed = attention_mask[0, 0] >= 0  # [query, key]
            tap.layers[layer] = LayerAttention(module, scores, pattern, allowed, key, value)
        if tap.edit is not None:
            pattern = tap.edit(layer, scores, pattern)
    return (pattern @ values).transpose(1, 2).contiguous(), pattern  # [prompt, query, head, d_head]


def normalise(scores: Tensor) -> Tensor:
    """The softmax over the last axis, in float32, in the dtype of `scores`."""
    return nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)


def _check_call(
    module: nn.Module, attention_mask: Tensor | None, dropout: float, arguments: Mapping[str, object]
) -> int:
    """The layer's index; a `SaltusError` for what `attend` does not do."""
    layer = getattr(module, "layer_idx", None)
    if not isinstance(layer, int):
        raise SaltusError(f"{type(module).__name__} has no layer_idx; the tap cannot tell which layer it is")
    unknown = [name for name, x in arguments.items() if isinstance(x, Tensor) and name not in _HARMLESS]
    if unknown:
        raise SaltusError(
            f"{type(module).__name__} hands {', '.join(unknown)} to its attention, which the tap cannot express; "
            "use a model with plain softmax attention"
        )
    if attention_mask is None:
        raise SaltusError(f"{type(module).__name__} gives its attention no mask; only masked attention can be tapped")
    if dropout:
        raise SaltusError(f"the model is in training mode, with attention dropout {dropout}; call its eval() first")
    return layer


AttentionInterface.register(_NAME, attend)
AttentionMaskInterface.register(_NAME, eager_mask)
