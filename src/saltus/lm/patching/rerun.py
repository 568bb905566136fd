"""Run only the layers of a decoder above a point, from what one whole pass left behind.

A *live* position is one that runs again: every position, or the last ones alone, which then see the keys and values of
the earlier positions as the whole pass had them. In the last block only the positions that have logits run, besides
the keys and values. Nothing here knows an architecture: the arguments of each block are those that the model itself
gave it, and what follows the blocks (final norm, unembedding, soft caps, scales) is the model's own pass with its
blocks set aside. `check_reference` says whether that was enough.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import Cache, DynamicCache, PreTrainedModel

from saltus.errors import SaltusError
from saltus.lm.memory import is_out_of_memory
from saltus.lm.patching.tap import Edit, KeysSeen, LayerAttention, Tap, check_length, run_tapped, tapped

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Reference:
    """One whole pass, kept so that its upper layers can run again."""

    model: PreTrainedModel
    edit: Edit | None
    """The edit of the pass itself."""
    prompts: int
    live: int
    """How many of the last positions run again."""
    scored: int
    """How many of the last positions have logits, at most `live`."""
    blocks: tuple[nn.Module, ...]
    calls: tuple[Call, ...]
    """The arguments of each block; the first is its input [prompt, live, d_model]."""
    narrow: Call
    """The arguments of the last block where only the scored positions run."""
    beside: tuple[Any, ...] | None
    """What the blocks return after the hidden states; None where they return these alone."""
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
    with torch.no_grad(), _explain(model):
        if start:
            run_tapped(model, tokens[:, :start], Tap(), past_key_values=cache, use_cache=True, logits_to_keep=1)
        tap = Tap(edit=edit, keep=True)
        watch = _Watch(model)
        logits = watch.run(tokens[:, start:], tap, cache, scored)
        attention = tuple(tap.layers[layer] for layer in sorted(tap.layers))
        path = _find_blocks(model, attention)
        blocks = tuple(model.get_submodule(path).children())
        calls = tuple(watch.call_of(block) for block in blocks)
        narrow = calls[-1]
        if live > scored:
            cache = DynamicCache()
            run_tapped(model, tokens[:, :-scored], Tap(), past_key_values=cache, use_cache=True, logits_to_keep=1)
            again = _Watch(model)
            again.run(tokens[:, -scored:], Tap(), cache, scored)
            narrow = again.call_of(blocks[-1])
    return Reference(
        model=model,
        edit=edit,
        prompts=tokens.shape[0],
        live=live,
        scored=scored,
        blocks=blocks,
        calls=calls,
        narrow=narrow,
        beside=watch.beside(blocks[-1]),
        attention=attention,
        logits=logits[:, -scored:],
    )


def rerun(reference: Reference, layer: int, make_edit: Callable[[Tensor], Edit], sets: Tensor) -> Tensor:
    """Logits [set, prompt, scored, symbol] of the pass run again from block `layer` on, once for each of `sets`.

    `make_edit` makes the edit of one or more of `sets` [set, ...]; it is given patterns [set * prompt, head, query,
    key], set by set. To be called where the model is `tapped`.
    """

    def enter(one: Tensor) -> Tensor:
        return _run_block(reference, layer, reference.calls[layer][0][0], make_edit(one[None]), narrow=False)

    # mapped, so that what comes before the edit is computed once for all sets, and as in the reference to the last bit
    hidden = torch.vmap(enter)(sets).flatten(0, 1)  # [set * prompt, live, d_model]
    edit = make_edit(sets)
    top = len(reference.blocks) - 1
    for above in range(layer + 1, top + 1):
        narrow = above == top and reference.live > reference.scored
        hidden = _run_block(reference, above, hidden, edit, narrow=narrow)
    logits = _conclude(reference, hidden[:, -reference.scored :])
    return logits.unflatten(0, (len(sets), -1))  # [set, prompt, scored, symbol]


def _conclude(reference: Reference, hidden: Tensor) -> Tensor:
    """Logits [row, scored, symbol]: what the model makes of [row, scored, d_model], which leaves its last block."""

    def set_aside(entering: Tensor, *_positional: object, **_named: object) -> object:
        return entering if reference.beside is None else (entering, *reference.beside)

    def leave(*_positional: object, **_named: object) -> object:
        return hidden if reference.beside is None else (hidden, *reference.beside)

    replaced = dict.fromkeys(reference.blocks[:-1], set_aside) | {reference.blocks[-1]: leave}
    own = {block: block.forward for block in replaced if "forward" in vars(block)}
    try:
        for block, forward in replaced.items():
            block.forward = forward
        tokens = torch.zeros(hidden.shape[:2], dtype=torch.int64, device=hidden.device)
        return reference.model(input_ids=tokens, use_cache=False).logits
    finally:
        for block in replaced:
            del block.forward
        for block, forward in own.items():
            block.forward = forward


def _run_block(reference: Reference, layer: int, hidden: Tensor, edit: Edit, *, narrow: bool) -> Tensor:
    """The output of one block for its input [row, live, d_model]; the rows are the prompts, again for each set.

    [row, scored, d_model] of the last block where it is to be `narrow`.
    """
    block, call, seen = reference.blocks[layer], reference.calls[layer], reference.attention[layer]
    times = hidden.shape[0] // reference.prompts
    tap = Tap(edit=edit)
    if start := seen.key.shape[-2] - reference.live:
        keys, values = (x[..., :start, :].repeat(times, 1, 1, 1) for x in (seen.key, seen.value))
        tap.earlier = {layer: (keys, values)}
    if narrow:
        scored = reference.scored
        try:
            _call(block, hidden, _tile(call, reference.prompts, times), Tap(stop=True, earlier=tap.earlier))
        except KeysSeen as ready:
            tap.earlier = {layer: (ready.key[..., :-scored, :], ready.value[..., :-scored, :])}
        call, hidden = reference.narrow, hidden[:, -scored:]
    return _call(block, hidden, _tile(call, reference.prompts, times), tap)


def _call(block: nn.Module, hidden: Tensor, call: Call, tap: Tap) -> Tensor:
    positional, named = call
    output = block(hidden, *positional[1:], **{**named, "tap": tap})
    return output[0] if isinstance(output, tuple) else output


def _tile(argument: Any, prompts: int, times: int) -> Any:
    """The argument with its prompts repeated; what is the same for all prompts, and caches, stay out of it."""
    if isinstance(argument, Cache):
        return None
    if isinstance(argument, tuple):
        return tuple(_tile(x, prompts, times) for x in argument)
    if isinstance(argument, dict):
        return {name: _tile(x, prompts, times) for name, x in argument.items()}
    if isinstance(argument, Tensor) and argument.ndim and argument.shape[0] == prompts > 1 and times > 1:
        return argument.repeat(times, *[1] * (argument.ndim - 1))
    return argument


def check_reference(reference: Reference) -> None:
    """Raise `SaltusError` if running all blocks again does not give the logits of the pass.

    The products have the same shapes, so that almost nothing but equality is right, in low precision too.
    """
    with torch.no_grad(), _explain(reference.model), tapped(reference.model):
        [again] = rerun(reference, 0, lambda _: reference.edit or _keep, torch.zeros(1))
    if not _agree(again, reference.logits):
        raise SaltusError(
            f"running the blocks of {type(reference.model).__name__} one by one does not give the logits of the whole "
            "model; its layers cannot be run from the middle, and its heads cannot be patched here"
        )


def check_attention(reference: Reference, tokens: Tensor) -> None:
    """Raise `SaltusError` if attention as it is tapped does not give the logits of the model's own for `tokens`."""
    model = reference.model
    before: Any = model.config._attn_implementation  # pyright: ignore[reportPrivateUsage]  # no public way to read it
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            own = model(input_ids=tokens, use_cache=False, logits_to_keep=reference.scored).logits
    finally:
        model.set_attn_implementation(before)
    if not _agree(own[:, -reference.scored :], reference.logits):
        raise SaltusError(
            f"the attention of {type(model).__name__}, written out, does not give the logits of the model; its heads "
            "cannot be patched here"
        )


@contextmanager
def _explain(model: PreTrainedModel) -> Generator[None, None, None]:
    """Turn what a model raises, but for a lack of memory, into one sentence."""
    try:
        yield
    except SaltusError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SaltusError(
            f"{type(model).__name__} cannot be run in parts with its attention written out ({text}); its heads cannot "
            "be patched here"
        ) from None


def _agree(logits: Tensor, expected: Tensor) -> bool:
    if logits.shape != expected.shape:
        return False
    tolerance = max(1e-5, torch.finfo(expected.dtype).eps) * float(expected.abs().max())
    return float((logits - expected).abs().max()) <= tolerance


class _Watch:
    """Hooks that keep the arguments of what lies in lists (blocks do), and what it returned besides hidden states."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._calls: dict[nn.Module, Call] = {}
        self._returned: dict[nn.Module, tuple[Any, ...] | None] = {}
        self._handles: list[RemovableHandle] = []
        for module in model.modules():
            for block in module if isinstance(module, nn.ModuleList) else ():
                self._handles.append(block.register_forward_pre_hook(self._begin, with_kwargs=True))
                self._handles.append(block.register_forward_hook(self._end))

    def run(self, tokens: Tensor, tap: Tap, cache: Cache, scored: int) -> Tensor:
        """One pass over `tokens`, which come after those in the cache; afterwards the hooks are gone."""
        arguments: dict[str, Any] = {"past_key_values": cache} if cache.get_seq_length() else {}
        try:
            return run_tapped(self._model, tokens, tap, use_cache=bool(arguments), logits_to_keep=scored, **arguments)
        finally:
            for handle in self._handles:
                handle.remove()

    def _begin(self, module: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._calls[module] = (positional, named)

    def _end(self, module: nn.Module, _positional: object, output: Any) -> None:
        self._returned[module] = output[1:] if isinstance(output, tuple) else None

    def call_of(self, block: nn.Module) -> Call:
        """The arguments of the block, its input first."""
        positional, named = self._calls[block]
        if positional:
            return positional, named
        return (named["hidden_states"],), {name: x for name, x in named.items() if name != "hidden_states"}

    def beside(self, block: nn.Module) -> tuple[Any, ...] | None:
        """What the block returned after the hidden states; None if it returned these alone."""
        return self._returned[block]


def _find_blocks(model: PreTrainedModel, attention: tuple[LayerAttention, ...]) -> str:
    """The path of the list whose entries hold the attention of one layer each."""
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == len(attention):
            pairs = zip(module, attention, strict=True)
            if all(any(inner is seen.module for inner in block.modules()) for block, seen in pairs):
                return path
    raise SaltusError(f"{type(model).__name__} has no list of blocks, one for each layer; its heads cannot be patched")


def _keep(_layer: int, _scores: Tensor, pattern: Tensor) -> Tensor:
    return pattern
