"""The probe against one plain forward pass for each token of each target."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from tests.lm.tiny_suite import make_model
from torch import Tensor, nn
from transformers import GPTNeoXForCausalLM

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.scanning.probe import Probe, probe
from saltus.lm.suites.base import MissingCheckpoint


def make_prompt(tokens: list[int], target: list[int], foil: list[int] | None = None) -> Prompt:
    return Prompt(str(tokens), tuple(tokens), tuple(target), str(target), () if foil is None else (tuple(foil),))


PROMPTS = [
    make_prompt([1, 2, 3, 4], [5]),
    make_prompt([7, 2, 9, 4], [6], foil=[8]),
    make_prompt([1, 2], [3, 4, 5]),
    make_prompt([4, 4, 4, 31, 0, 3], [9, 9], foil=[9, 3]),
    make_prompt([1, 2, 3, 4], [6], foil=[5]),  # the same tokens as the first
    make_prompt([12, 20, 3], [1, 2], foil=[3, 4]),
    make_prompt([8, 6, 4, 2], [11]),
]


@pytest.fixture
def model() -> GPTNeoXForCausalLM:
    return make_model(seed=3, layers=2)


def read_slowly(model: nn.Module, tokens: tuple[int, ...], answer: tuple[int, ...]) -> tuple[float, float, int]:
    """Joint log probability, mean logit and worst rank, one token after the other, in double precision."""
    log_probability, logits, ranks = 0.0, list[float](), list[int]()
    for place, token in enumerate(answer):
        with torch.no_grad():
            out = model(input_ids=torch.tensor([[*tokens, *answer[:place]]])).logits[0, -1]
        values: NDArray[np.float64] = out.double().numpy()
        log_probability += float(values[token] - np.log(np.exp(values).sum()))
        logits.append(float(values[token]))
        ranks.append(sum(value >= values[token] for value in values) - 1)
    return log_probability, float(np.mean(logits)), max(ranks)


def assert_equal_probes(one: Probe, other: Probe) -> None:
    for name, values in vars(one).items():
        assert_allclose(values, vars(other)[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rows", [1, 2, 256])
def test_agrees_with_one_pass_for_each_token(model: GPTNeoXForCausalLM, rows: int) -> None:
    said = probe(model, PROMPTS, rows)
    for number, prompt in enumerate(PROMPTS):
        log_probability, logit, rank = read_slowly(model, prompt.tokens, prompt.target)
        assert_allclose(said.probability[number], np.exp(log_probability), rtol=1e-4)
        assert_allclose(said.logit[number], logit, rtol=1e-4, atol=1e-5)
        assert said.rank[number] == rank
        assert said.correct[number] == (rank == 0)
        if not prompt.foils:
            assert np.isnan(said.margin[number])
        else:
            foil = read_slowly(model, prompt.tokens, prompt.foils[0])[0]
            assert_allclose(said.margin[number], log_probability - foil, rtol=1e-3, atol=1e-5)
    assert len(set(said.rank)) > 4  # the test could not tell ranks apart otherwise


def test_greedy_answers_are_correct(model: GPTNeoXForCausalLM) -> None:
    tokens, answer = (1, 2, 3), list[int]()
    for _ in range(3):
        with torch.no_grad():
            answer.append(int(model(input_ids=torch.tensor([[*tokens, *answer]])).logits[0, -1].argmax()))
    wrong = [*answer[:2], (answer[2] + 1) % 32]
    said = probe(model, [make_prompt([*tokens], answer), make_prompt([*tokens], wrong)], 8)
    assert said.correct.tolist() == [True, False]
    assert said.rank[0] == 0
    assert said.rank[1] > 0


def test_a_tie_is_no_answer_and_ranks_count_it_in_full(model: GPTNeoXForCausalLM) -> None:
    with torch.no_grad():
        out = model(input_ids=torch.tensor([[1, 2, 3]])).logits[0, -1]
        first, second, third = out.argsort(descending=True)[:3].tolist()
        head = model.get_output_embeddings().weight
        head[second] = head[first]
    said = probe(model, [make_prompt([1, 2, 3], [token]) for token in (first, second, third)], 8)
    assert said.rank.tolist() == [1, 1, 2]
    assert said.correct.tolist() == [False, False, False]


def test_a_model_that_says_nothing_answers_nothing(model: GPTNeoXForCausalLM) -> None:
    """An output head of zeros, as some begin with: all logits are equal."""
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    said = probe(model, PROMPTS, 8)
    assert said.rank.tolist() == [31] * len(PROMPTS)
    assert not said.correct.any()
    single = [len(prompt.target) == 1 for prompt in PROMPTS]
    assert_allclose(said.probability[single], 1 / 32, rtol=1e-6)


class Watch:
    """What goes into and out of a model."""

    def __init__(self) -> None:
        self.inputs: list[list[list[int]]] = []
        self.unembedded: list[tuple[int, ...]] = []


@contextmanager
def watch(model: GPTNeoXForCausalLM) -> Generator[Watch, None, None]:
    seen = Watch()

    def enter(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.inputs.append(arguments[0].tolist())

    def leave(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.unembedded.append(tuple(arguments[0].shape[:2]))

    handles = [
        model.get_input_embeddings().register_forward_pre_hook(enter),
        model.get_output_embeddings().register_forward_pre_hook(leave),
    ]
    yield seen
    for handle in handles:
        handle.remove()


def test_every_sequence_is_asked_once_unpadded_and_only_its_end_is_unembedded(model: GPTNeoXForCausalLM) -> None:
    with watch(model) as seen:
        probe(model, PROMPTS, 2)
    asked = [tuple(sequence) for batch in seen.inputs for sequence in batch]
    wanted = [
        *[(1, 2, 3, 4), (7, 2, 9, 4), (8, 6, 4, 2)],  # one for target and foil, and for two prompts of equal tokens
        *[(1, 2, 3, 4), (4, 4, 4, 31, 0, 3, 9), (12, 20, 3, 1), (12, 20, 3, 3)],
    ]
    assert sorted(asked) == sorted(wanted)
    assert max(len(batch) for batch in seen.inputs) == 2
    ends = {4: {1, 2, 3}, 7: {2}}
    for batch, (rows, positions) in zip(seen.inputs, seen.unembedded, strict=True):
        assert rows == len(batch)
        assert positions in ends[len(batch[0])]
    assert sum(rows * positions for rows, positions in seen.unembedded) == 3 * 1 + 1 * 3 + 3 * 2


def limit_memory(model: GPTNeoXForCausalLM, most: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the model fail for more than `most` sequences; the sizes that were tried."""
    tried: list[int] = []
    forward: Any = model.forward

    def limited(input_ids: Tensor, use_cache: bool = False, logits_to_keep: int = 0) -> Any:
        tried.append(len(input_ids))
        if len(input_ids) > most:
            raise error
        return forward(input_ids=input_ids, use_cache=use_cache, logits_to_keep=logits_to_keep)

    monkeypatch.setattr(model, "forward", limited)
    return tried


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_halves_the_batch_where_memory_ends(
    model: GPTNeoXForCausalLM, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [make_prompt([1, 2, number], [number + 1], foil=[number + 2]) for number in range(8)]
    expected = probe(model, prompts, 8)
    tried = limit_memory(model, 2, error, monkeypatch)
    assert_equal_probes(probe(model, prompts, 8), expected)
    assert tried == [8, 4, 2, 2, 2, 2]


def test_memory_for_not_even_one_sequence(model: GPTNeoXForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = limit_memory(model, 0, torch.OutOfMemoryError("CUDA out of memory"), monkeypatch)
    with pytest.raises(SaltusError, match=r"a single sequence does not fit into memory; use shorter prompts"):
        probe(model, PROMPTS[:1], 8)
    assert tried[-1] == 1


def test_other_faults_are_not_taken_for_a_lack_of_memory(
    model: GPTNeoXForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = limit_memory(model, 0, RuntimeError("shapes do not match"), monkeypatch)
    with pytest.raises(MissingCheckpoint, match=r"the model cannot be run \(RuntimeError: shapes do not match\)"):
        probe(model, PROMPTS, 8)
    assert len(tried) == 1


def test_prompt_longer_than_the_context() -> None:
    model = make_model(context=5)
    probe(model, [make_prompt([1, 2, 3, 4], [5, 6])], 8)  # five tokens go in
    for prompt in (make_prompt([1, 2, 3, 4], [5, 6, 7]), make_prompt([1, 2, 3, 4, 5, 6], [7])):
        with pytest.raises(
            SaltusError, match=r"the prompt '\[1, 2, 3, 4.*\]' needs 6 tokens and the model reads at most 5"
        ):
            probe(model, [prompt], 8)


@pytest.mark.parametrize(
    "prompt", [make_prompt([1, 32], [3]), make_prompt([1, 2], [32]), make_prompt([1, 2], [3], foil=[32])]
)
def test_token_that_the_model_does_not_know(model: GPTNeoXForCausalLM, prompt: Prompt) -> None:
    with pytest.raises(SaltusError, match="holds the token 32 and the model knows 32 tokens; put the model's own"):
        probe(model, [prompt], 8)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_not_finite(model: GPTNeoXForCausalLM, value: float) -> None:
    with torch.no_grad():
        model.get_output_embeddings().weight[17] = value
    with pytest.raises(MissingCheckpoint, match="gives logits that are not finite"):
        probe(model, PROMPTS, 8)


def test_softmax_of_half_precision_is_in_single_precision(model: GPTNeoXForCausalLM) -> None:
    half = model.bfloat16()
    said = probe(half, PROMPTS[:1], 8)
    with torch.no_grad():
        logits = half(input_ids=torch.tensor([PROMPTS[0].tokens])).logits[0, -1]
    assert_allclose(said.probability[0], logits.double().softmax(0)[5].item(), rtol=1e-5)
    assert abs(said.probability[0] - logits.softmax(0)[5].item()) > 1e-5  # which a softmax in bfloat16 would miss


def test_results_are_in_the_order_of_the_prompts(model: GPTNeoXForCausalLM) -> None:
    forward, backward = probe(model, PROMPTS, 3), probe(model, PROMPTS[::-1], 3)
    for name, values in vars(forward).items():
        assert_allclose(values, vars(backward)[name][::-1], rtol=1e-4, atol=1e-5)
    assert_array_equal(np.isnan(forward.margin), [not prompt.foils for prompt in PROMPTS])
