"""Run only the layers of a decoder above a point, from what one whole pass left behind.

A *live* position is one that runs again: every position, or the last ones alone, which then see the keys and values of
the earlier positions as the whole pass had them. Nothing here knows an architecture: the arguments of each block are
those that the model itself gave it, and what follows the blocks (final norm, unembedding) is what it was seen to call.
`check_reference` says whether that was enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import Cache, DynamicCache, PreTrainedModel

from saltus.errors import SaltusError
from saltus.lm.tap import Edit, LayerAttention, Tap, check_length, run_tapped, tapped

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Reference:
    """One whole pass, kept so that its upper layers can run again."""

    model: PreTrainedModel
    edit: Edit | None
    """The edit of the pass itself, which upper layers see as well unless they are given another."""
    scored: int
    """How many of the last positions have logits."""
    blocks: tuple[nn.Module, ...]
    calls: tuple[Call, ...]
    """The arguments of each block; the first is its input [prompt, live, d_model]."""
    tail: tuple[nn.Module, ...]
    """What the model calls after the last block, in order."""
    attention: tuple[LayerAttention, ...]
    """Of each layer, with the live positions as queries and all positions as keys."""
    logits: Tensor
    """[prompt, scored, symbol]"""


def run_reference(
    model: PreTrainedModel, tokens: Tensor, live: int, scored: int, edit: Edit | None = None
) -> Reference:
    """One pass over `tokens` [prompt, position]; the last `live` positions are live, the last `scored` have logits."""
    check_length(model, tokens)
    start = tokens.shape[1] - live
    cache = DynamicCache()
    with torch.no_grad():
        if start:
            run_tapped(model, tokens[:, :start], Tap(), past_key_values=cache, use_cache=True, logits_to_keep=1)
        tap = Tap(edit=edit, keep=True)
        watch = _Watch(model)
        try:
            arguments: dict[str, Any] = {"past_key_values": cache} if start else {}
            logits = run_tapped(
                model, tokens[:, start:], tap, use_cache=bool(start), logits_to_keep=scored, **arguments
            )
        finally:
            watch.end()
    attention = tuple(tap.layers[layer] for layer in sorted(tap.layers))
    path = _find_blocks(model, attention)
    blocks = tuple(model.get_submodule(path).children())
    return Reference(
        model=model,
        edit=edit,
        scored=scored,
        blocks=blocks,
        calls=tuple(_without_cache(watch.call_of(block)) for block in blocks),
        tail=watch.tail_after(blocks[-1], path),
        attention=attention,
        logits=logits[:, -scored:],
    )


def rerun(reference: Reference, layer: int, edit: Edit | None) -> Tensor:
    """Logits [prompt, scored, symbol] of the pass run again from block `layer` on, with another edit.

    To be called where the model is `tapped`. Pure: it may be mapped by `torch.vmap` over what `edit` closes over, and
    then only what depends on that is computed more than once.
    """
    hidden: Tensor = reference.calls[layer][0][0]
    start = reference.attention[0].key.shape[-2] - hidden.shape[1]
    earlier = {
        index: (seen.key[..., :start, :], seen.value[..., :start, :])
        for index, seen in enumerate(reference.attention)
        if start
    }
    tap = Tap(edit=edit, earlier=earlier)
    for block, (positional, named) in zip(reference.blocks[layer:], reference.calls[layer:], strict=True):
        output = block(hidden, *positional[1:], **{**named, "tap": tap})
        hidden = output[0] if isinstance(output, tuple) else output
    hidden = hidden[:, -reference.scored :]
    for module in reference.tail:
        hidden = module(hidden)
    return hidden


def check_reference(reference: Reference) -> None:
    """Raise `SaltusError` if running all blocks again does not give the logits of the pass."""
    with torch.no_grad(), tapped(reference.model):
        again = rerun(reference, 0, reference.edit)
    expected = reference.logits
    if again.shape == expected.shape:
        tolerance = torch.finfo(expected.dtype).eps ** 0.5 * float(expected.abs().max())
        if float((again - expected).abs().max()) <= tolerance:
            return
    raise SaltusError(
        f"running the blocks of {type(reference.model).__name__} one by one does not give the logits of the whole "
        "model; its layers cannot be run from the middle, and its heads cannot be patched here"
    )


class _Watch:
    """Hooks that keep the arguments of what lies in lists (blocks do), and the order in which all modules end."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._calls: dict[nn.Module, Call] = {}
        self._ended: list[nn.Module] = []
        self._handles: list[RemovableHandle] = []
        for module in model.modules():
            self._handles.append(module.register_forward_hook(self._note_end))
            if isinstance(module, nn.ModuleList):
                for block in module:
                    self._handles.append(block.register_forward_pre_hook(self._begin, with_kwargs=True))

    def _begin(self, module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._calls[module] = (positional, named)

    def _note_end(self, module: nn.Module, _positional: object, _output: object) -> None:
        self._ended.append(module)

    def end(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def call_of(self, block: nn.Module) -> Call:
        """The arguments of the block, its input first."""
        positional, named = self._calls[block]
        if positional:
            return positional, named
        return (named["hidden_states"],), {name: x for name, x in named.items() if name != "hidden_states"}

    def tail_after(self, last: nn.Module, path: str) -> tuple[nn.Module, ...]:
        """What ran after the last block: the children of the modules around `path` that hold no blocks themselves."""
        parts = path.split(".")
        around = [self._model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts))]
        beside = {child for module in around for child in module.children()} - {*around}
        return tuple(module for module in self._ended[self._ended.index(last) + 1 :] if module in beside)


def _find_blocks(model: PreTrainedModel, attention: tuple[LayerAttention, ...]) -> str:
    """The path of the list whose entries hold the attention of one layer each."""
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == len(attention):
            pairs = zip(module, attention, strict=True)
            if all(any(inner is seen.module for inner in block.modules()) for block, seen in pairs):
                return path
    raise SaltusError(f"{type(model).__name__} has no list of blocks, one for each layer; its heads cannot be patched")


def _without_cache(call: Call) -> Call:
    positional, named = call
    drop: Callable[[Any], Any] = lambda x: None if isinstance(x, Cache) else x  # noqa: E731
    return tuple(drop(x) for x in positional), {name: drop(x) for name, x in named.items()}
