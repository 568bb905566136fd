"""Patches against the plain way: one whole forward pass for each head, with the library's eager attention rewritten.

The plain way shares no code with the tap, the upper layers or the mapping over heads; the donor's patterns come from
`output_attentions`.
"""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.parity.conftest import Build
from torch import Tensor, nn
from transformers import PreTrainedModel

from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.batches import batch_prompts
from saltus.lm.patching.heads import Case, Heads, measure_heads, measure_sets
from saltus.lm.patching.replacement import capture_attention, make_replacement

HEADS = [(layer, head) for layer in range(3) for head in range(4)]
Queries = Literal["all", "last"]


def make_prompts() -> list[Prompt]:
    """Of two lengths that alternate, with targets of one token and of three."""
    generator = np.random.default_rng(3)
    lengths = [(8, 1), (6, 3), (8, 1), (6, 3), (8, 1)]
    return [
        Prompt("", tuple(generator.integers(0, 50, n).tolist()), tuple(generator.integers(0, 50, k).tolist()), "")
        for n, k in lengths
    ]


class PlainPatch:
    """Eager attention that takes some rows of some heads from the donor."""

    def __init__(self, donor: Sequence[Tensor], heads: Iterable[tuple[int, int]], first: int) -> None:
        self._donor = donor
        self._heads = tuple(heads)
        self._first = first

    def __call__(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *_: Any, **arguments: Any
    ) -> tuple[Tensor, Tensor]:
        each = query.shape[1] // key.shape[1]
        context = torch.empty_like(query)
        for head in range(query.shape[1]):
            scores = query[:, head] @ key[:, head // each].transpose(1, 2) * arguments["scaling"]
            if (cap := arguments.get("softcap")) is not None:
                scores = cap * torch.tanh(scores / cap)
            pattern = nn.functional.softmax(scores + mask[:, 0], dim=-1)
            if (module.layer_idx, head) in self._heads:
                pattern[:, self._first :] = self._donor[module.layer_idx][:, head, self._first :]
            context[:, head] = pattern @ value[:, head // each]
        return context.transpose(1, 2), torch.empty(0)


def measure_plainly(
    recipient: PreTrainedModel,
    donor: PreTrainedModel,
    prompts: Sequence[Prompt],
    sets: Sequence[Heads],
    queries: Queries,
) -> NDArray[np.float64]:
    """[set, prompt] log probability of the target."""
    library = sys.modules[type(recipient).__module__]
    own = library.eager_attention_forward  # pyright: ignore[reportAttributeAccessIssue]
    measured = np.zeros((len(sets), len(prompts)))
    for model in (recipient, donor):
        model.set_attn_implementation("eager")
    for place, prompt in enumerate(prompts):
        tokens = torch.tensor([[*prompt.tokens, *prompt.target[:-1]]])
        with torch.no_grad():
            patterns = donor(tokens, output_attentions=True, use_cache=False).attentions
            for index, heads in enumerate(sets):
                first = 0 if queries == "all" else len(prompt.tokens) - 1
                try:
                    library.eager_attention_forward = PlainPatch(patterns, heads, first)  # pyright: ignore
                    logits = recipient(tokens, use_cache=False).logits[0]
                finally:
                    library.eager_attention_forward = own  # pyright: ignore
                for offset, token in enumerate(prompt.target):
                    measured[index, place] += float(logits[len(prompt.tokens) - 1 + offset].log_softmax(-1)[token])
    return measured


def make_cases(
    donor: PreTrainedModel, prompts: Sequence[Prompt], stage: Literal["scores", "pattern"], queries: Queries
) -> list[Case]:
    batches = batch_prompts(prompts, torch.device("cpu"))
    attention = [capture_attention(donor, batch, stage, queries, rows=256) for batch in batches]
    generator = np.random.default_rng(0)
    return [
        Case(batch, make_replacement(captured, "own", generator))
        for batch, captured in zip(batches, attention, strict=True)
    ]


@pytest.mark.parametrize("queries", ["all", "last"])
def test_every_head_and_sets_are_as_in_whole_passes(build: Build, queries: Queries) -> None:
    recipient, donor, prompts = build(0), build(1), make_prompts()
    alone: list[Heads] = [(head,) for head in HEADS]
    sets: list[Heads] = [(), ((0, 1), (2, 3)), ((1, 0), (1, 2), (2, 0)), tuple(HEADS)]
    expected = measure_plainly(recipient, donor, prompts, [*alone, *sets], queries)
    change = np.abs(expected[:12] - expected[12])
    assert np.median(change) > 1e-2  # nats: there is something to find
    assert (change.max(axis=1) > 1e-4).all()

    for stage in ("pattern", "scores"):
        cases = make_cases(donor, prompts, stage, queries)
        effects = measure_heads(recipient, cases, rows=256)
        np.testing.assert_allclose(effects.unpatched, expected[12], rtol=0, atol=1e-5)
        np.testing.assert_allclose(effects.patched.reshape(12, -1), expected[:12], rtol=0, atol=1e-5)
        np.testing.assert_allclose(measure_sets(recipient, cases, sets, rows=256), expected[12:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("queries", ["all", "last"])
def test_sets_on_top_of_others_are_as_in_whole_passes(build: Build, queries: Queries) -> None:
    recipient, donor, prompts = build(0), build(1), make_prompts()
    base: Heads = ((1, 1), (2, 2))
    added: list[Heads] = [((0, 0),), ((1, 3),), ((2, 0),), ((1, 1),)]
    expected = measure_plainly(recipient, donor, prompts, [(*heads, *base) for heads in added], queries)
    measured = measure_sets(recipient, make_cases(donor, prompts, "pattern", queries), added, rows=256, base=base)
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("queries", ["all", "last"])
def test_a_models_own_patterns_change_nothing(build: Build, queries: Queries) -> None:
    model, prompts = build(0), make_prompts()
    for stage in ("pattern", "scores"):
        effects = measure_heads(model, make_cases(model, prompts, stage, queries), rows=256)
        assert np.abs(effects.patched - effects.unpatched).max() < 1e-5  # rounding of differently shaped products


@pytest.mark.parametrize("queries", ["all", "last"])
def test_in_low_precision_a_models_own_patterns_change_no_more_than_its_rounding(
    build: Build, queries: Queries
) -> None:
    """Whatever follows the head: what is left out of a pass would be many times as much."""
    model, prompts = build(0).bfloat16(), make_prompts()
    effects = measure_heads(model, make_cases(model, prompts, "pattern", queries), rows=256)
    assert np.abs(effects.patched - effects.unpatched).max() < 0.02


def test_the_last_queries_alone_change_less_than_all(build: Build) -> None:
    """With the recipient's own patterns for the queries before, all queries are as the last ones alone."""
    recipient, donor, prompts = build(0), build(1), make_prompts()
    every = make_cases(donor, prompts, "pattern", "all")
    own = make_cases(recipient, prompts, "pattern", "all")
    last = make_cases(donor, prompts, "pattern", "last")
    mixed = [
        Case(
            a.batch, torch.cat([b.replacement[..., : -a.batch.scored, :], a.replacement[..., -a.batch.scored :, :]], -2)
        )
        for a, b in zip(every, own, strict=True)
    ]
    short = measure_heads(recipient, last, rows=256)
    np.testing.assert_allclose(short.patched, measure_heads(recipient, mixed, rows=256).patched, rtol=0, atol=1e-5)
    assert np.abs(short.patched - measure_heads(recipient, every, rows=256).patched).max() > 1e-2
