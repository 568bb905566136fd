"""The exact effect of putting other attention patterns into a model: for every head, and for sets of heads.

Only what lies above the lowest patched layer runs again, for many heads (or sets) at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from saltus.errors import SaltusError
from saltus.lm.capabilities.batches import PromptBatch
from saltus.lm.memory import explain_memory, run_in_parts
from saltus.lm.patching.rerun import Reference, check_reference, rerun, run_reference
from saltus.lm.patching.tap import Edit, tapped
from saltus.lm.patching.units import Units

Heads = tuple[tuple[int, int], ...]
"""(layer, head) of each head of a set."""

References = dict[tuple[int, ...], Reference]
"""Whole passes of one model with one set replaced, by the index of their prompts."""

REFERENCE_PASSES = 3
"""Whole passes that a reference costs, with its check."""


@dataclass(frozen=True)
class Case:
    """Prompts of one length, and what is put in the place of the model's patterns on them."""

    batch: PromptBatch
    replacement: Tensor
    """[layer, prompt, head, live query, key] patterns of the last queries, or of all; no other query is touched."""

    def take(self, part: slice) -> "Case":
        """Some of its prompts."""
        return Case(self.batch.take(part), self.replacement[:, part])


@dataclass(frozen=True)
class HeadEffects:
    """What replacing each head's pattern alone does to the probability of the target."""

    unpatched: NDArray[np.float64]
    """[prompt] log probability of the target, in nats."""
    patched: NDArray[np.float64]
    """[layer, head, prompt] the same with one head replaced."""

    @property
    def effect(self) -> NDArray[np.float64]:
        """[layer, head, prompt] change of the probability."""
        return np.exp(self.patched) - np.exp(self.unpatched)


@dataclass(frozen=True)
class FoundSet:
    """A set of heads, and the model with all of them replaced."""

    heads: Heads
    """In the order in which they were chosen."""
    patched: NDArray[np.float64]
    """[prompt] log probability of the target, in nats."""


def measure_heads(model: PreTrainedModel, cases: Sequence[Case], rows: int) -> HeadEffects:
    """The effect of every head; at most `rows` sequences run in a pass, fewer if memory does not hold them."""
    layers, heads = list_shape(cases)
    alone: list[Heads] = [((layer, head),) for layer in range(layers) for head in range(heads)]
    measured = measure_sets(model, cases, [*alone, ()], rows)
    return HeadEffects(measured[-1], measured[:-1].reshape(layers, heads, -1))


def measure_sets(
    model: PreTrainedModel,
    cases: Sequence[Case],
    sets: Sequence[Heads],
    rows: int,
    *,
    base: Heads = (),
    references: References | None = None,
) -> NDArray[np.float64]:
    """Log probability of the target [set, prompt], in nats, with all heads of a set replaced at once.

    See `measure_answers`.
    """
    return measure_answers(model, cases, sets, rows, base=base, references=references)[0]


def measure_answers(
    model: PreTrainedModel,
    cases: Sequence[Case],
    sets: Sequence[Heads],
    rows: int,
    *,
    base: Heads = (),
    references: References | None = None,
) -> NDArray[np.float64]:
    """What the model says with all heads of a set replaced at once, [2, set, prompt], in nats.

    First the log probability of the target, then its logit less that of the best foil; that is NaN for prompts without
    foils of one token. Prompts are in the order of their index. Each pass starts at the lowest layer in which a set
    differs from `base`, a set that is replaced in all of them. `references`, of the same model and base, are used and
    added to.
    """
    references = {} if references is None else references
    shape = list_shape(cases)
    device = cases[0].replacement.device
    masks = torch.stack([_mask(shape, [*heads, *base], device) for heads in sets])  # [set, layer, head]
    places = place_prompts(cases)
    measured = np.empty((2, len(sets), sum(map(len, places))))
    for case, place in zip(cases, places, strict=True):
        measure = _over_prompts(model, case, masks, _mask(shape, base, device), rows, references)
        with explain_memory():
            parts = run_in_parts(measure, len(place), rows)
        measured[:, :, place] = torch.cat(parts, dim=2).double().cpu().numpy()
    return measured


def find_smallest_set(
    model: PreTrainedModel,
    cases: Sequence[Case],
    goal: float,
    most_heads: int,
    rows: int,
    *,
    candidates: Heads | None = None,
    alone: NDArray[np.float64] | None = None,
    units: Units | None = None,
) -> list[FoundSet]:
    """Greedy sets of 1, 2, ... heads; the last reaches `goal`, a mean probability of the target, or has `most_heads`.

    In each round every remaining one of the `candidates`, all heads where they are not given, is measured exactly, on
    top of those already chosen. `alone` [candidate, prompt], log probabilities, is the first round where it is known.
    """
    layers, heads = list_shape(cases)
    units = units or Units()
    remaining = list(candidates or [(layer, head) for layer in range(layers) for head in range(heads)])
    found: list[FoundSet] = []
    chosen: Heads = ()
    while remaining and len(chosen) < most_heads:
        if alone is not None and not chosen:
            measured = alone
        else:
            sets: list[Heads] = [(head,) for head in remaining]
            measure = partial(measure_sets, model, cases, sets, rows, base=chosen)
            measured = units.get(f"greedy-{len(chosen) + 1}", count_work(cases, sets, base=chosen), measure)
        best = int(np.exp(measured).mean(axis=1).argmax())
        chosen = (*chosen, remaining.pop(best))
        found.append(FoundSet(chosen, measured[best]))
        if np.exp(measured[best]).mean() >= goal:
            break
    return found


def count_work(cases: Sequence[Case], sets: Sequence[Heads], *, base: Heads | None = None) -> float:
    """The work of measuring `sets`, in passes of a position through a block; with a reference where `base` is given."""
    layers, _ = list_shape(cases)
    passes = sum(layers - min((layer for layer, _ in heads), default=layers) for heads in sets)
    if base is not None:
        passes += REFERENCE_PASSES * layers
    return float(passes * sum(case.replacement.shape[1] * case.replacement.shape[3] for case in cases))


def list_shape(cases: Sequence[Case]) -> tuple[int, int]:
    """Layers and heads of the replacements."""
    return cases[0].replacement.shape[0], cases[0].replacement.shape[2]


def place_prompts(cases: Sequence[Case]) -> list[NDArray[np.int64]]:
    """For each case [prompt], the places of its prompts when all are put in the order of their index."""
    together = np.sort(np.concatenate([case.batch.index for case in cases]))
    return [np.searchsorted(together, case.batch.index) for case in cases]


def _over_prompts(
    model: PreTrainedModel, case: Case, masks: Tensor, base: Tensor, rows: int, references: References
) -> Callable[[slice], Tensor]:
    """What measures some of the case's prompts: answers [2, set, prompt]."""
    entries = [_find_entry(mask, base) for mask in masks]

    def measure(part: slice) -> Tensor:
        some = case.take(part)
        if some.batch.index not in references:
            references[some.batch.index] = _refer(model, some, base)
        reference = references[some.batch.index]
        measured = _read_answers(some.batch, reference.logits)[:, None].repeat(1, len(masks), 1)  # [2, set, prompt]
        for layer in range(masks.shape[1]):
            group = [index for index, entry in enumerate(entries) if entry == layer]
            run = _over_sets(reference, some, layer, masks[group])
            parts = run_in_parts(run, len(group), max(1, rows // len(some.batch.index)))
            if parts:
                measured[:, group] = torch.cat(parts, dim=1)
        return measured

    return measure


def _over_sets(reference: Reference, case: Case, layer: int, masks: Tensor) -> Callable[[slice], Tensor]:
    """What measures some of the sets `masks` [set, layer, head], which all begin to differ at `layer`."""
    touched = _list_touched(masks)

    def make_edit(some: Tensor) -> Edit:
        return _make_edit(case.replacement, some, touched)

    def measure(part: slice) -> Tensor:
        with torch.no_grad(), tapped(reference.model):
            logits = rerun(reference, layer, make_edit, masks[part])  # [set, prompt, scored, symbol]
        return _read_answers(case.batch, logits)

    return measure


def _read_answers(batch: PromptBatch, logits: Tensor) -> Tensor:
    """[2, ..., prompt] from logits [..., prompt, scored, symbol]."""
    return torch.stack([batch.score(logits), batch.compare(logits)])


def _refer(model: PreTrainedModel, case: Case, base: Tensor) -> Reference:
    """The pass with `base` [layer, head] replaced, from which all others start."""
    live = case.replacement.shape[-2]
    edit = _make_edit(case.replacement, base[None], _list_touched(base[None]))
    reference = run_reference(model, case.batch.tokens, live, case.batch.scored, edit)
    own = (len(reference.attention), *reference.attention[0].pattern.shape)
    if own != tuple(case.replacement.shape):
        given = case.replacement.shape
        raise SaltusError(
            f"the patterns that are put in have {given[0]} layers with {given[2]} heads, the patched model {own[0]} "
            f"with {own[2]}, for {given[1]} and {own[1]} prompts; donor and recipient must have the same shape"
        )
    check_reference(reference)
    return reference


def _make_edit(replacement: Tensor, masks: Tensor, touched: frozenset[int]) -> Edit:
    """Replace the heads in `masks` [set, layer, head], in patterns [set * prompt, head, query, key].

    Layers that are not `touched` have none.
    """

    def edit(layer: int, scores: Tensor, pattern: Tensor) -> Tensor:
        if layer not in touched:
            return pattern
        by_set = pattern.unflatten(0, (len(masks), -1))  # [set, prompt, head, query, key]
        other = replacement[layer][..., -pattern.shape[-2] :, :]  # of as many queries as run
        return torch.where(masks[:, layer, None, :, None, None], other, by_set).flatten(0, 1)

    return edit


def _mask(shape: tuple[int, int], heads: Iterable[tuple[int, int]], device: torch.device) -> Tensor:
    """[layer, head] booleans."""
    mask = torch.zeros(shape, dtype=torch.bool, device=device)
    for layer, head in heads:
        if not (0 <= layer < shape[0] and 0 <= head < shape[1]):
            raise SaltusError(
                f"head {head} of layer {layer} was asked for; there are {shape[0]} layers with {shape[1]} heads, "
                "counted from 0"
            )
        mask[layer, head] = True
    return mask


def _list_touched(masks: Tensor) -> frozenset[int]:
    """The layers in which any of `masks` [set, layer, head] has a head."""
    return frozenset(masks.any(-1).any(0).nonzero()[:, 0].tolist())


def _find_entry(mask: Tensor, base: Tensor) -> int | None:
    """The lowest layer in which two masks [layer, head] differ."""
    differing = (mask != base).any(-1).nonzero()[:, 0].tolist()
    return min(differing, default=None)
