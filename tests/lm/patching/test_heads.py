"""Replacements, sets of heads, memory. That the numbers are right is shown in tests/parity/test_patch.py."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tests.lm.tiny_suite import make_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.batches import PromptBatch, batch_prompts
from saltus.lm.patching import heads as patch
from saltus.lm.patching.heads import Case, find_smallest_set, measure_heads, measure_sets
from saltus.lm.patching.replacement import (
    CapturedAttention,
    Queries,
    Source,
    Stage,
    capture_attention,
    make_replacement,
)

HEADS = tuple(product(range(3), range(2)))
CPU = torch.device("cpu")

torch.set_num_threads(1)  # the models are too small for more


def make_prompts(lengths: Sequence[int] = (7, 5, 7, 5, 7), targets: int = 1) -> list[Prompt]:
    generator = np.random.default_rng(0)
    draw: Callable[[int], tuple[int, ...]] = lambda n: tuple(generator.integers(0, 32, n).tolist())  # noqa: E731
    return [Prompt("", draw(length), draw(targets), "") for length in lengths]


def make_cases(donor: PreTrainedModel, prompts: Sequence[Prompt], rows: int = 256) -> list[Case]:
    batches = batch_prompts(prompts, CPU)
    attention = [capture_attention(donor, batch, "pattern", "all", rows) for batch in batches]
    return [
        Case(b, make_replacement(r, "own", np.random.default_rng(0))) for b, r in zip(batches, attention, strict=True)
    ]


def read(stage: Stage, prompts: int = 4) -> CapturedAttention:
    [batch] = batch_prompts(make_prompts([6] * prompts), CPU)
    return capture_attention(make_model(1, layers=3), batch, stage, "all", rows=256)


def replace(stage: Stage, source: Source, seed: int = 0) -> Tensor:
    return make_replacement(read(stage), source, np.random.default_rng(seed))


def test_prompts_are_batched_by_length_and_scored_on_their_whole_target() -> None:
    prompts = [Prompt("", (1, 2, 3), (4,), ""), Prompt("", (1, 2), (3, 4), ""), Prompt("", (5, 6, 7), (8,), "")]
    first, second = batch_prompts(prompts, CPU)
    assert (first.index, first.tokens.tolist(), first.targets.tolist()) == ((0, 2), [[1, 2, 3], [5, 6, 7]], [[4], [8]])
    assert (second.index, second.tokens.tolist(), second.targets.tolist()) == ((1,), [[1, 2, 3]], [[3, 4]])
    logits = torch.zeros(1, 2, 32)
    logits[0, 0, 3] = logits[0, 1, 4] = np.log(31)  # each of the two tokens has probability 1/2
    assert second.score(logits).exp().tolist() == pytest.approx([0.25])


@pytest.mark.parametrize("stage", ["pattern", "scores"])
def test_shuffled_patterns_keep_the_values_of_the_allowed_keys(stage: Stage) -> None:
    own, shuffled = replace(stage, "own"), replace(stage, "shuffled")
    torch.testing.assert_close(shuffled.sum(-1), torch.ones(3, 4, 2, 6))
    assert shuffled.triu(1).abs().max() == 0.0
    torch.testing.assert_close(shuffled.sort(-1).values, own.sort(-1).values, rtol=1e-6, atol=1e-7)
    moved = (shuffled - own).abs().amax(-1) > 1e-3  # [layer, prompt, head, query]
    assert not moved[..., 0].any()
    assert moved[..., 3:].float().mean() > 0.9
    assert torch.equal(shuffled, replace(stage, "shuffled"))
    assert not torch.equal(shuffled, replace(stage, "shuffled", seed=1))


def test_each_query_is_shuffled_on_its_own() -> None:
    captured = read("pattern")
    ramp = torch.arange(6.0).expand_as(captured.values).contiguous()
    made = make_replacement(
        CapturedAttention(ramp, torch.ones_like(captured.allowed), "pattern", captured.unpatched, captured.difference),
        "shuffled",
        np.random.default_rng(0),
    )
    orders = {tuple(row) for row in made.reshape(-1, 6).long().tolist()}
    assert len(orders) > 100  # of 144 rows, with 720 orders to draw from
    first = made[..., 0].flatten()
    assert first.mean() == pytest.approx(2.5, abs=0.5)


def test_zero_uniform_and_mean_are_what_their_names_say() -> None:
    uniform = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    assert replace("pattern", "zero").abs().max() == 0.0
    for made in (replace("pattern", "uniform"), replace("scores", "uniform"), replace("scores", "zero")):
        torch.testing.assert_close(made, uniform.expand(3, 4, 2, 6, 6))
    own = replace("pattern", "own")
    torch.testing.assert_close(replace("pattern", "mean"), own.mean(1, keepdim=True).expand_as(own))
    of_scores = replace("scores", "mean")
    torch.testing.assert_close(of_scores.sum(-1), torch.ones(3, 4, 2, 6))
    assert of_scores.triu(1).abs().max() == 0.0
    assert (of_scores - replace("pattern", "mean")).abs().max() > 1e-3


def test_own_scores_and_own_patterns_are_the_same_replacement() -> None:
    torch.testing.assert_close(replace("scores", "own"), replace("pattern", "own"))


def test_resampled_patterns_are_those_of_another_prompt() -> None:
    own, resampled = replace("pattern", "own"), replace("pattern", "resample")
    same = torch.tensor([[torch.equal(resampled[:, i], own[:, j]) for j in range(4)] for i in range(4)])
    assert same.sum(0).tolist() == same.sum(1).tolist() == [1] * 4
    assert not same.diagonal().any()
    with pytest.raises(SaltusError, match="resample needs at least 2 prompts"):
        make_replacement(read("pattern", prompts=1), "resample", np.random.default_rng(0))


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(SaltusError, match="source is 'noise'; allowed are own, shuffled"):
        replace("pattern", "noise")  # pyright: ignore[reportArgumentType]


def test_a_donor_of_another_shape_is_refused() -> None:
    cases = make_cases(make_model(1, layers=2), make_prompts())
    with pytest.raises(SaltusError, match="have 2 layers with 2 heads, the patched model 3 with 2"):
        measure_heads(make_model(0, layers=3), cases, rows=256)


def test_prompts_longer_than_the_context_are_refused_for_the_last_query_too() -> None:
    for queries in get_args(Queries):
        [batch] = batch_prompts(make_prompts([25]), CPU)
        with pytest.raises(SaltusError, match=r"25 tokens and the model's context holds 24"):
            capture_attention(make_model(1), batch, "pattern", queries, rows=256)


def test_a_head_that_is_not_there_is_refused() -> None:
    cases = make_cases(make_model(1, layers=3), make_prompts())
    with pytest.raises(SaltusError, match="head 2 of layer 1 was asked for; there are 3 layers with 2 heads"):
        measure_sets(make_model(0, layers=3), cases, [((1, 2),)], rows=256)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_model_whose_logits_do_not_come_from_its_blocks_alone_is_refused(dtype: torch.dtype) -> None:
    """Its embeddings go round the blocks to the final norm, a little of them."""
    model, donor = make_model(0, layers=3), make_model(1, layers=3)
    for each in (model, donor):
        nn.Module.to(each, dtype)
    embedded: list[Tensor] = []

    def keep(_module: object, _arguments: object, output: Tensor) -> None:
        embedded.append(output)

    def go_round(_module: object, arguments: tuple[Tensor]) -> tuple[Tensor]:
        [hidden] = arguments
        return (hidden + 0.05 * embedded[-1][:, -hidden.shape[1] :],)

    model.gpt_neox.embed_in.register_forward_hook(keep)
    model.gpt_neox.final_layer_norm.register_forward_pre_hook(go_round)
    with pytest.raises(SaltusError, match="does not give the logits of the whole model"):
        measure_heads(model, make_cases(donor, make_prompts()), rows=256)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_model_does_after_its_head_is_done_in_every_pass(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompts = make_model(0, layers=3), make_prompts()
    nn.Module.to(model, dtype)
    forward: Callable[..., Any] = model.forward

    def cap(*positional: Any, **named: Any) -> Any:
        output = forward(*positional, **named)
        output.logits = 0.2 * torch.tanh(output.logits)
        return output

    bare = measure_heads(model, make_cases(model, prompts), rows=256)
    monkeypatch.setattr(model, "forward", cap)
    effects = measure_heads(model, make_cases(model, prompts), rows=256)
    assert np.abs(bare.unpatched - effects.unpatched).max() > 0.1
    assert np.abs(effects.patched - effects.unpatched).max() < (1e-5 if dtype == torch.float32 else 0.01)


def test_attention_that_is_not_what_it_is_tapped_as_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a model with another softmax than that which is written out."""
    from saltus.lm.patching import tap

    def normalise(scores: Tensor) -> Tensor:
        return (0.9 * scores).softmax(-1)

    monkeypatch.setattr(tap, "normalise", normalise)
    [batch] = batch_prompts(make_prompts([6, 6]), CPU)
    with pytest.raises(SaltusError, match="written out, does not give the logits of the model"):
        capture_attention(make_model(0, layers=3), batch, "pattern", "all", rows=256)


class Memory:
    """Counts the sequences of each pass, and fails where there are more than it holds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holds: int = 1000) -> None:
        self.passes: list[int] = []
        score = PromptBatch.score

        def watch(batch: PromptBatch, logits: Tensor) -> Tensor:
            self.passes.append(logits.shape[:-2].numel())
            if self.passes[-1] > holds:
                raise torch.OutOfMemoryError
            return score(batch, logits)

        monkeypatch.setattr(PromptBatch, "score", watch)


def test_no_pass_has_more_sequences_than_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cases = make_model(0, layers=3), make_cases(make_model(1, layers=3), make_prompts())
    expected = measure_heads(model, cases, rows=256)
    for rows in (1, 2, 4):
        with monkeypatch.context() as patched:
            memory = Memory(patched)
            measured = measure_heads(model, cases, rows)
        assert max(memory.passes) == rows
        np.testing.assert_allclose(measured.patched, expected.patched, rtol=0, atol=1e-5)
        np.testing.assert_allclose(measured.unpatched, expected.unpatched, rtol=0, atol=1e-5)


def test_a_pass_that_does_not_fit_into_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompts = make_model(0, layers=3), make_prompts()
    cases = make_cases(make_model(1, layers=3), prompts)
    expected = measure_heads(model, cases, rows=256).patched
    for holds in (1, 2, 4):
        with monkeypatch.context() as patched:
            memory = Memory(patched, holds)
            np.testing.assert_allclose(measure_heads(model, cases, rows=256).patched, expected, rtol=0, atol=1e-5)
            assert max(memory.passes) > holds  # it was tried
            for mine, theirs in zip(make_cases(make_model(1, layers=3), prompts), cases, strict=True):
                torch.testing.assert_close(mine.replacement, theirs.replacement)


def test_a_single_sequence_that_does_not_fit_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cases = make_model(0, layers=3), make_cases(make_model(1, layers=3), make_prompts())
    Memory(monkeypatch, holds=0)
    with pytest.raises(SaltusError, match="a single sequence does not fit into memory"):
        measure_heads(model, cases, rows=256)


@pytest.mark.parametrize(
    ("error", "split"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_only_what_is_out_of_memory_is_halved(error: Exception, split: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cases = make_model(0, layers=3), make_cases(make_model(1, layers=3), make_prompts([6, 6]))
    rerun, failures = patch.rerun, [error]

    def fail_once(*arguments: Any) -> Tensor:
        if failures:
            raise failures.pop()
        return rerun(*arguments)

    monkeypatch.setattr(patch, "rerun", fail_once)
    if split:
        assert np.isfinite(measure_heads(model, cases, rows=256).patched).all()
    else:
        with pytest.raises(RuntimeError, match="shapes"):
            measure_heads(model, cases, rows=256)
    assert not failures


def search_plainly(model: PreTrainedModel, cases: list[Case], size: int) -> list[tuple[tuple[int, int], ...]]:
    """Greedy sets, every set measured from the unpatched model."""
    chosen: tuple[tuple[int, int], ...] = ()
    sets: list[tuple[tuple[int, int], ...]] = []
    for _ in range(size):
        candidates = [(*chosen, head) for head in HEADS if head not in chosen]
        means = [np.exp(measure_sets(model, cases, [candidate], rows=256)).mean() for candidate in candidates]
        chosen = candidates[int(np.argmax(means))]
        sets.append(chosen)
    return sets


def test_the_greedy_search_adds_the_head_that_helps_most() -> None:
    model, cases = make_model(0, layers=3), make_cases(make_model(1, layers=3), make_prompts())
    found = find_smallest_set(model, cases, goal=2.0, most_heads=3, rows=256)
    assert [step.heads for step in found] == search_plainly(model, cases, 3)
    for step in found:
        [alone] = measure_sets(model, cases, [step.heads], rows=256)
        np.testing.assert_allclose(step.patched, alone, rtol=0, atol=1e-5)


def test_the_greedy_search_ends_at_its_goal() -> None:
    model, cases = make_model(0, layers=3), make_cases(make_model(1, layers=3), make_prompts())
    means = [np.exp(step.patched).mean() for step in find_smallest_set(model, cases, 2.0, most_heads=6, rows=256)]
    assert len(means) == 6
    goal = float(max(means[:2]))
    reached = find_smallest_set(model, cases, goal, most_heads=6, rows=256)
    assert len(reached) == 1 + int(np.argmax(np.array(means) >= goal)) < 6
