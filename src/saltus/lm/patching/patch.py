"""A whole patch: which heads of a donor checkpoint bring the capability to its recipient, with its controls."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.batches import PromptBatch, batch_prompts, check_prompts
from saltus.lm.patching.heads import Case, Heads, find_smallest_set, list_shape, measure_heads, measure_sets
from saltus.lm.patching.records import PATCH_TABLES
from saltus.lm.patching.replacement import CapturedAttention, Source, capture_attention, make_replacement
from saltus.lm.patching.screen import estimate_effects, rank_heads
from saltus.lm.patching.tap import capture_patterns
from saltus.seeding import Streams
from saltus.specs.checkpoints import PatchSpec

RANDOM_DRAWS = 20
"""Sets of random heads that the greedy set is compared with."""
SHOWN_PROMPTS = 4
"""Prompts whose patterns are kept."""

_SHUFFLED, _RESAMPLE, _RANDOM = range(3)  # addresses in the stream of the controls


@dataclass(frozen=True)
class _Side:
    """One of the two checkpoints, read on all prompts."""

    model: PreTrainedModel
    batches: tuple[PromptBatch, ...]
    attention: tuple[CapturedAttention, ...]
    """For each batch."""
    unpatched: NDArray[np.float64]
    """[prompt] log probability of the target, in nats."""

    def cases(self, source: Source, generator: np.random.Generator | None = None) -> list[Case]:
        """What its attention gives to put in; batches of a single prompt give nothing that takes two."""
        generator = generator or np.random.default_rng(0)  # not drawn from
        return [
            Case(batch, make_replacement(captured, source, generator))
            for batch, captured in zip(self.batches, self.attention, strict=True)
            if len(batch.index) > 1 or source not in ("mean", "resample")
        ]


def patch_heads(
    spec: PatchSpec,
    recipient: PreTrainedModel,
    donor: PreTrainedModel,
    prompts: Sequence[Prompt],
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, pa.Table]:
    """The tables of `PATCH_TABLES`, but for the trajectory.

    Raises `SaltusError` where the two models differ in shape, do not take the prompts or cannot be patched.
    """
    before, after = (_capture_side(spec, model, prompts) for model in (recipient, donor))
    effects = _measure_effects(spec, before, after)
    brought = effects["patch"] - np.exp(before.unpatched)  # [layer, head, prompt]
    estimated = estimate_effects(recipient, after.cases("own"), spec.rows)
    sets = _measure_all_sets(spec, before, after, rank_heads(estimated))
    greedy = [heads for kind, _, heads, _ in sets if kind == "greedy"]
    shown = greedy[-1] if greedy else rank_heads(brought)[:1]
    return {
        "prompts": _tabulate_prompts(prompts, before, after),
        "effects": _tabulate_effects(effects),
        "sets": _tabulate_sets(sets),
        "screen": _tabulate_screen(estimated),
        "patterns": _tabulate_patterns({"recipient": recipient, "donor": donor}, prompts, shown, tokenizer),
    }


def tabulate_trajectory(measured: Mapping[int, NDArray[np.float64]]) -> pa.Table:
    """The table `trajectory` from the probabilities of the target [prompt] by step."""
    rows = ((step, i, float(p)) for step, chances in sorted(measured.items()) for i, p in enumerate(chances))
    return _tabulate("trajectory", rows)


def _capture_side(spec: PatchSpec, model: PreTrainedModel, prompts: Sequence[Prompt]) -> _Side:
    check_prompts(model, prompts)
    batches = batch_prompts(prompts, model.device)
    attention = tuple(capture_attention(model, batch, spec.stage, spec.queries, spec.rows) for batch in batches)
    unpatched = np.empty(len(prompts))
    for batch, captured in zip(batches, attention, strict=True):
        unpatched[list(batch.index)] = captured.unpatched.double().cpu().numpy()
    return _Side(model, batches, attention, unpatched)


def _measure_effects(spec: PatchSpec, before: _Side, after: _Side) -> dict[str, NDArray[np.float64]]:
    """For each kind the probability of the target [layer, head, prompt]; NaN where a control cannot be made."""
    streams = Streams(spec.master_seed)
    kinds: dict[str, tuple[_Side, list[Case]]] = {
        "patch": (before, after.cases("own")),
        "reverse": (after, before.cases("own")),
        "self": (before, before.cases("own")),
        "shuffled": (before, after.cases("shuffled", streams.generator("controls", _SHUFFLED))),
        "zero": (after, after.cases("zero")),
        "mean": (after, after.cases("mean")),
        "resample": (after, after.cases("resample", streams.generator("controls", _RESAMPLE))),
        "uniform": (after, after.cases("uniform")),
    }
    shape = (*list_shape(after.cases("own")), len(before.unpatched))
    effects: dict[str, NDArray[np.float64]] = {}
    for kind, (side, cases) in kinds.items():
        effects[kind] = np.full(shape, np.nan)
        if not cases:
            continue
        patched = measure_heads(side.model, cases, spec.rows).patched
        measured = sorted(index for case in cases for index in case.batch.index)
        effects[kind][:, :, measured] = np.exp(patched)
    return effects


_Set = tuple[str, int, Heads, NDArray[np.float64]]
"""Kind, draw, heads, log probabilities [prompt]."""


def _measure_all_sets(spec: PatchSpec, before: _Side, after: _Side, ranking: Heads) -> list[_Set]:
    """The greedy sets; as many random heads, and as many of the first-order ranking; all heads."""
    cases = after.cases("own")
    layers, heads = list_shape(cases)
    everything = [(layer, head) for layer in range(layers) for head in range(heads)]
    start, end = np.exp(before.unpatched).mean(), np.exp(after.unpatched).mean()
    sets: list[_Set] = []
    if end > start:
        goal = start + spec.share * (end - start)
        found = find_smallest_set(before.model, cases, goal, spec.most_heads, spec.rows)
        sets += [("greedy", 0, step.heads, step.patched) for step in found]
    size = len(sets)
    generator = Streams(spec.master_seed).generator("controls", _RANDOM)
    others: list[tuple[str, int, Heads]] = [("all", 0, tuple(everything))]
    if size:
        drawn = [generator.choice(len(everything), size, replace=False) for _ in range(RANDOM_DRAWS)]
        others += [("random", draw, tuple(everything[i] for i in chosen)) for draw, chosen in enumerate(drawn)]
        others += [("screen", 0, ranking[:first]) for first in range(1, size + 1)]
    measured = measure_sets(before.model, cases, [chosen for _, _, chosen in others], spec.rows)
    return sets + [(*other, values) for other, values in zip(others, measured, strict=True)]


def _tabulate(name: str, rows: Iterable[Sequence[object]]) -> pa.Table:
    """Rows in the order of the schema's columns."""
    schema = PATCH_TABLES[name]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def _tabulate_prompts(prompts: Sequence[Prompt], before: _Side, after: _Side) -> pa.Table:
    chances = zip(np.exp(before.unpatched), np.exp(after.unpatched), strict=True)
    return _tabulate(
        "prompts", ((i, p.text, p.target_text, *c) for i, (p, c) in enumerate(zip(prompts, chances, strict=True)))
    )


def _tabulate_effects(effects: dict[str, NDArray[np.float64]]) -> pa.Table:
    return _tabulate(
        "effects", ((kind, *index, float(p)) for kind, values in effects.items() for index, p in np.ndenumerate(values))
    )


def _tabulate_sets(sets: Sequence[_Set]) -> pa.Table:
    return _tabulate(
        "sets",
        (
            (kind, draw, [list(head) for head in heads], index, float(p))
            for kind, draw, heads, values in sets
            for index, p in enumerate(np.exp(values))
        ),
    )


def _tabulate_screen(estimated: NDArray[np.float64]) -> pa.Table:
    return _tabulate("screen", ((*index, float(effect)) for index, effect in np.ndenumerate(estimated)))


def _tabulate_patterns(
    models: dict[str, PreTrainedModel], prompts: Sequence[Prompt], heads: Heads, tokenizer: PreTrainedTokenizerBase
) -> pa.Table:
    rows: list[tuple[object, ...]] = []
    for name, model in models.items():
        for index, prompt in enumerate(prompts[:SHOWN_PROMPTS]):
            tokens = [*prompt.tokens, *prompt.target[:-1]]
            patterns = capture_patterns(model, torch.tensor([tokens], device=model.device)).patterns
            words = [tokenizer.decode([token]) for token in tokens]
            for layer, head in heads:
                flat = patterns[layer][0, head].flatten().float().tolist()  # [query * key]
                rows.append((name, layer, head, index, words, flat))
    return _tabulate("patterns", rows)
