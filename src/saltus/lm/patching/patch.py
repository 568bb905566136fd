"""A whole patch: which heads of a donor checkpoint bring the capability to its recipient, with its controls."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.batches import PromptBatch, batch_prompts, check_prompts
from saltus.lm.patching.heads import (
    REFERENCE_PASSES,
    Case,
    Heads,
    References,
    count_work,
    find_smallest_set,
    list_shape,
    measure_answers,
    measure_sets,
)
from saltus.lm.patching.records import PATCH_TABLES
from saltus.lm.patching.replacement import CapturedAttention, Source, capture_attention, make_replacement
from saltus.lm.patching.screen import estimate_effects, rank_heads
from saltus.lm.patching.tap import capture_patterns
from saltus.lm.patching.units import Units
from saltus.seeding import Streams
from saltus.specs.checkpoints import PatchSpec

RANDOM_DRAWS = 20
"""Sets of random heads that the greedy set is compared with."""
SHOWN_PROMPTS = 4
"""Prompts whose patterns are kept."""

_CAPTURE_PASSES, _SCREEN_PASSES = 4, 4  # whole passes that reading and screening cost, for the estimate of time
_SAME = 1e-2  # nats by which two measurements of the same weights differ at most

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
    difference: NDArray[np.float64]
    """[prompt] logit of the target less that of its best foil, in nats; NaN without foils of one token."""

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
    units: Units | None = None,
) -> dict[str, pa.Table]:
    """The tables of `PATCH_TABLES`, but for the trajectory.

    All heads are screened, and `spec.exact` of them are measured exactly, a unit for each kind and layer.

    Raises `SaltusError` where the two models differ in shape, do not take the prompts or cannot be patched, and where
    they are not those of the units that an earlier call kept.
    """
    units = units or Units()
    _plan_first(spec, recipient, prompts, units)
    before, after = (_capture_side(spec, model, prompts, units) for model in (recipient, donor))
    _compare_with_earlier(before, after, units)
    cases = after.cases("own")
    layers, heads = list_shape(cases)
    estimated = units.get(
        "screen",
        _SCREEN_PASSES * layers * _count_positions(prompts),
        lambda: estimate_effects(recipient, cases, spec.rows).reshape(layers * heads, -1),
    ).reshape(layers, heads, -1)
    ranking = rank_heads(estimated)
    exact = tuple(sorted(ranking[: spec.exact or None]))
    units.plan(
        _count_all_work(spec, cases, exact),
        _count_all_work(spec, cases, tuple(sorted(ranking))),
        len(exact),
        len(ranking),
    )
    measured = _measure_effects(spec, before, after, exact, units)
    patched = measured["patch"][0]  # [layer, head, prompt]
    brought = np.exp(patched) - np.exp(before.unpatched)
    sets = _measure_all_sets(spec, before, after, ranking, exact, patched, units)
    greedy = [chosen for kind, _, chosen, _ in sets if kind == "greedy"]
    shown = greedy[-1] if greedy else rank_heads(brought)[:1]
    return {
        "prompts": _tabulate_prompts(prompts, before, after),
        "effects": _tabulate_effects(measured, exact),
        "sets": _tabulate_sets(sets),
        "screen": _tabulate_screen(estimated),
        "patterns": _tabulate_patterns({"recipient": recipient, "donor": donor}, prompts, shown, tokenizer),
    }


def tabulate_trajectory(measured: Mapping[int, NDArray[np.float64]]) -> pa.Table:
    """The table `trajectory` from the probabilities of the target [prompt] by step."""
    rows = ((step, i, float(p)) for step, chances in sorted(measured.items()) for i, p in enumerate(chances))
    return _tabulate("trajectory", rows)


def _plan_first(spec: PatchSpec, model: PreTrainedModel, prompts: Sequence[Prompt], units: Units) -> None:
    """Say what is ahead before anything is known of the heads, and run the first prompt, which shows the speed."""
    check_prompts(model, prompts)
    config = model.config.get_text_config()
    layers, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    whole, count = layers * _count_positions(prompts), layers * heads
    exact = min(spec.exact or count, count)
    rounds = min(spec.most_heads, count)
    fixed = 2 * _CAPTURE_PASSES + _SCREEN_PASSES + 2 * REFERENCE_PASSES + (rounds - 1) * REFERENCE_PASSES
    fixed += REFERENCE_PASSES + 1 + RANDOM_DRAWS + rounds
    for_each = (len(spec.effects) + rounds - 1) / 2  # a head lies, on average, in the middle
    units.plan(whole * (fixed + exact * for_each), whole * (fixed + count * for_each), exact, count)
    with torch.no_grad():
        model(torch.tensor([prompts[0].tokens], device=model.device), use_cache=False, logits_to_keep=1)
    units.work("first prompt", layers * len(prompts[0].tokens))


def _capture_side(spec: PatchSpec, model: PreTrainedModel, prompts: Sequence[Prompt], units: Units) -> _Side:
    check_prompts(model, prompts)
    batches = batch_prompts(prompts, model.device)
    attention: list[CapturedAttention] = []
    unpatched, difference = np.empty((2, len(prompts)))
    for batch in batches:
        captured = capture_attention(model, batch, spec.stage, spec.queries, spec.rows)
        attention.append(captured)
        unpatched[list(batch.index)] = captured.unpatched.double().cpu().numpy()
        difference[list(batch.index)] = captured.difference.double().cpu().numpy()
        units.work("patterns of the two checkpoints", _CAPTURE_PASSES * len(captured.values) * batch.tokens.numel())
    return _Side(model, batches, tuple(attention), unpatched, difference)


def _compare_with_earlier(before: _Side, after: _Side, units: Units) -> None:
    """Refuse to go on with units of other weights."""
    now = np.stack([before.unpatched, after.unpatched])  # [side, prompt]
    earlier = units.get("unpatched", 0.0, lambda: now)
    if earlier.shape != now.shape or np.abs(earlier - now).max() > _SAME:
        raise SaltusError(
            "the two checkpoints give their targets other probabilities than when this patch was begun; move the "
            "patch's folder away to measure these checkpoints from the start, or bring the former ones back"
        )


def _measure_effects(
    spec: PatchSpec, before: _Side, after: _Side, exact: Heads, units: Units
) -> dict[str, NDArray[np.float64]]:
    """For each kind what `measure_answers` gives, [2, layer, head, prompt]; NaN where it is not measured."""
    streams = Streams(spec.master_seed)
    shuffled, resample = (streams.generator("controls", address) for address in (_SHUFFLED, _RESAMPLE))
    kinds: dict[str, tuple[_Side, list[Case]]] = {
        "patch": (before, after.cases("own")),
        "reverse": (after, before.cases("own")),
        "self": (before, before.cases("own")),
        "shuffled": (before, after.cases("shuffled", shuffled)),
        "zero": (after, after.cases("zero")),
        "mean": (after, after.cases("mean")),
        "resample": (after, after.cases("resample", resample)),
        "uniform": (after, after.cases("uniform")),
    }
    shape = (2, *list_shape(after.cases("own")), len(before.unpatched))
    effects = {kind: np.full(shape, np.nan) for kind in spec.effects}
    layers = sorted({layer for layer, _ in exact})
    for side in (before, after):
        for place, batch in enumerate(side.batches):
            references: References = {}  # of one length at a time, which memory holds
            for kind in spec.effects:
                of, cases = kinds[kind]
                for case in (case for case in cases if of is side and case.batch.index == batch.index):
                    for layer in layers:
                        sets: list[Heads] = [(head,) for head in exact if head[0] == layer]
                        values = units.get(
                            f"answers-{kind}-{place}-{layer}",
                            count_work([case], sets),
                            lambda side=side, case=case, sets=sets, references=references: np.concatenate(
                                measure_answers(side.model, [case], sets, spec.rows, references=references)
                            ),
                        )
                        at = [head for ((_, head),) in sets]
                        for answers, part in zip(effects[kind], np.split(values, 2), strict=True):
                            answers[layer, np.array(at)[:, None], np.array(case.batch.index)] = part
    return effects


_Set = tuple[str, int, Heads, NDArray[np.float64]]
"""Kind, draw, heads, log probabilities [prompt]."""


def _measure_all_sets(
    spec: PatchSpec,
    before: _Side,
    after: _Side,
    ranking: Heads,
    exact: Heads,
    patched: NDArray[np.float64],
    units: Units,
) -> list[_Set]:
    """The greedy sets; as many random heads, and as many of the first-order ranking; all heads.

    `patched` [layer, head, prompt] are the log probabilities with one head replaced.
    """
    cases = after.cases("own")
    everything = tuple(sorted(ranking))
    start, end = np.exp(before.unpatched).mean(), np.exp(after.unpatched).mean()
    sets: list[_Set] = []
    if end > start:
        found = find_smallest_set(
            before.model,
            cases,
            start + spec.share * (end - start),
            spec.most_heads,
            spec.rows,
            candidates=exact,
            alone=np.stack([patched[head] for head in exact]),
            units=units,
        )
        sets += [("greedy", 0, step.heads, step.patched) for step in found]
    size = len(sets)
    generator = Streams(spec.master_seed).generator("controls", _RANDOM)
    others: list[tuple[str, int, Heads]] = [("all", 0, everything)]
    if size:
        drawn = [generator.choice(len(everything), size, replace=False) for _ in range(RANDOM_DRAWS)]
        others += [("random", draw, tuple(everything[i] for i in chosen)) for draw, chosen in enumerate(drawn)]
        others += [("screen", 0, ranking[:first]) for first in range(1, size + 1)]
    searched = [[(head,) for head in exact if head not in heads] for _, _, heads, _ in sets[:-1]]
    work = sum(count_work(cases, round_of, base=()) for round_of in searched)
    work += count_work(cases, [chosen for _, _, chosen in others])
    units.spare(_count_search(spec, cases, exact) + _count_sets(spec, cases, exact) - work)
    measured = np.empty((len(others), len(before.unpatched)))
    for place, case in enumerate(cases):
        references: References = {}
        for entry in range(list_shape(cases)[0]):
            chosen = [index for index, (_, _, heads) in enumerate(others) if min(heads)[0] == entry]
            if chosen:
                some = [others[index][2] for index in chosen]
                measured[np.array(chosen)[:, None], np.array(case.batch.index)] = units.get(
                    f"sets-{place}-{entry}",
                    count_work([case], some),
                    lambda case=case, some=some, references=references: measure_sets(
                        before.model, [case], some, spec.rows, references=references
                    ),
                )
    return sets + [(*other, values) for other, values in zip(others, measured, strict=True)]


def _count_positions(prompts: Sequence[Prompt]) -> int:
    return sum(len(prompt.tokens) + len(prompt.target) - 1 for prompt in prompts)


def _count_all_work(spec: PatchSpec, cases: Sequence[Case], exact: Heads) -> float:
    """Of everything after the screen, if the greedy search needs all its rounds."""
    alone: list[Heads] = [(head,) for head in exact]
    effects = len(spec.effects) * count_work(cases, alone)
    return effects + _count_search(spec, cases, exact) + _count_sets(spec, cases, exact)


def _count_search(spec: PatchSpec, cases: Sequence[Case], exact: Heads) -> float:
    """The most work of the greedy search."""
    return (min(spec.most_heads, len(exact)) - 1) * count_work(cases, [(head,) for head in exact], base=())


def _count_sets(spec: PatchSpec, cases: Sequence[Case], exact: Heads) -> float:
    """The most work of the other sets."""
    return (1 + RANDOM_DRAWS + min(spec.most_heads, len(exact))) * count_work(cases, [((0, 0),)])


def _tabulate(name: str, rows: Iterable[Sequence[object]]) -> pa.Table:
    """Rows in the order of the schema's columns."""
    schema = PATCH_TABLES[name]
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def _tabulate_prompts(prompts: Sequence[Prompt], before: _Side, after: _Side) -> pa.Table:
    differences = ([_or_null(each) for each in side.difference] for side in (before, after))
    chances = zip(np.exp(before.unpatched), np.exp(after.unpatched), *differences, strict=True)
    return _tabulate(
        "prompts", ((i, p.text, p.target_text, *c) for i, (p, c) in enumerate(zip(prompts, chances, strict=True)))
    )


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _tabulate_effects(effects: dict[str, NDArray[np.float64]], exact: Heads) -> pa.Table:
    """Rows of the `exact` heads, in their order."""
    return _tabulate(
        "effects",
        (
            (kind, *head, prompt, float(np.exp(log)), _or_null(difference))
            for kind, values in effects.items()
            for head in exact
            for prompt, (log, difference) in enumerate(zip(*values[:, *head], strict=True))
        ),
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
