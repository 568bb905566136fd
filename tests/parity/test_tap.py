"""The tap against transformers' eager attention, and against what the words causal and grouped mean."""

import copy
from typing import Any

import pytest
import torch
from tests.parity.conftest import Build
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from saltus.errors import SaltusError
from saltus.lm.patching.tap import Edit, Tap, attend, capture_patterns, run_tapped, tapped

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def draw_tokens(prompts: int = 3, length: int = 9) -> Tensor:
    return torch.randint(0, 50, (prompts, length), generator=torch.Generator().manual_seed(1))


def keep(_layer: int, _scores: Tensor, pattern: Tensor) -> Tensor:
    return pattern.clone()


def rewrite(model: PreTrainedModel, tokens: Tensor, edit: Edit) -> Tensor:
    """Logits [prompt, query, symbol] with every pattern passed through `edit`."""
    with torch.no_grad():
        return run_tapped(model, tokens, Tap(edit=edit))


def check_against_eager(model: PreTrainedModel) -> None:
    """In double precision: how far single precision rounds apart depends on the machine's matrix products."""
    model, tokens = model.double(), draw_tokens()
    captured = capture_patterns(model, tokens)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(tokens, output_attentions=True, use_cache=False)
    assert expected.logits.std() > 0.5
    torch.testing.assert_close(captured.logits, expected.logits, rtol=1e-6, atol=1e-6)
    assert len(captured.patterns) == len(expected.attentions) == 3
    for mine, theirs in zip(captured.patterns, expected.attentions, strict=True):
        assert mine.shape == (3, 4, 9, 9)
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)


def test_logits_and_patterns_are_those_of_eager_attention(build: Build) -> None:
    check_against_eager(build(0))


def test_replacing_a_pattern_by_itself_changes_nothing(build: Build) -> None:
    model = build(0)
    tokens = draw_tokens()
    captured = capture_patterns(model, tokens)
    assert torch.equal(rewrite(model, tokens, keep), captured.logits)
    again = rewrite(model, tokens, lambda layer, _s, _p: captured.patterns[layer])
    assert torch.equal(again, captured.logits)


def test_the_scores_that_an_edit_sees_are_those_before_the_softmax(build: Build) -> None:
    model, tokens = build(0), draw_tokens()

    def renew(_layer: int, scores: Tensor, pattern: Tensor) -> Tensor:
        assert (scores[..., 0, 1:] == torch.finfo(scores.dtype).min).all()
        torch.testing.assert_close(scores.softmax(-1), pattern)
        return scores.softmax(-1)

    torch.testing.assert_close(rewrite(model, tokens, renew), capture_patterns(model, tokens).logits)


def test_another_pattern_of_one_head_changes_the_logits(build: Build) -> None:
    model, tokens = build(0), draw_tokens()

    def look_at_the_first(layer: int, _scores: Tensor, pattern: Tensor) -> Tensor:
        if layer == 1:
            pattern = pattern.clone()
            pattern[:, 2] = torch.eye(9)[0]
        return pattern

    change = rewrite(model, tokens, look_at_the_first) - capture_patterns(model, tokens).logits
    assert change[:, 0].abs().max() < 1e-6  # the first query saw the first key alone before
    assert change[:, 1:].abs().amax(-1).min() > 1e-3


def test_no_query_sees_a_later_token(build: Build) -> None:
    model, tokens = build(0), draw_tokens()
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 50
    before, after = capture_patterns(model, tokens), capture_patterns(model, changed)
    assert torch.equal(before.logits[:, :6], after.logits[:, :6])
    assert (before.logits[:, 6:] - after.logits[:, 6:]).abs().amax(-1).min() > 1e-3
    for pattern in before.patterns:
        assert pattern.triu(1).abs().max() == 0.0


def test_a_sliding_window_comes_with_the_mask() -> None:
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SMALL, sliding_window=3)).eval()
    torch.nn.init.normal_(model.lm_head.weight)
    check_against_eager(model)
    assert capture_patterns(model, draw_tokens()).patterns[0].tril(-3).abs().max() == 0.0


def test_soft_capping_is_that_of_eager_attention() -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        **SMALL, head_dim=16, attn_logit_softcapping=0.5, final_logit_softcapping=None, sliding_window=32
    )
    model = Gemma2ForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.3)
    check_against_eager(model)


def test_the_models_own_attention_comes_back() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()

    def name_attention() -> str | None:
        return model.config._attn_implementation  # pyright: ignore[reportPrivateUsage]  # no public way to read it

    def fail() -> None:
        with tapped(model):
            assert name_attention() == "saltus"
            raise ZeroDivisionError

    before = name_attention()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert name_attention() == before != "saltus"


def test_a_model_without_attention_is_refused() -> None:
    model = MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4)).eval()
    with pytest.raises(SaltusError, match=r"^0 of the 2 layers of MambaForCausalLM take their attention from"):
        capture_patterns(model, draw_tokens())


def test_a_model_with_one_layer_that_bypasses_the_interface_is_refused() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    attention: Any = model.model.layers[1].self_attn
    attention.config = copy.deepcopy(model.config)
    attention.config._attn_implementation = "eager"  # pyright: ignore[reportPrivateUsage]  # as above
    with pytest.raises(SaltusError, match="2 of the 3 layers of LlamaForCausalLM"):
        capture_patterns(model, draw_tokens())


def test_prompts_longer_than_the_context_are_refused() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    with pytest.raises(SaltusError, match=r"33 tokens and the model's context holds 32"):
        capture_patterns(model, draw_tokens(1, 33))


def test_a_model_in_training_mode_is_refused() -> None:
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_embd=32, n_layer=1, n_head=4, n_positions=32, bos_token_id=None, eos_token_id=None)
    )
    with pytest.raises(SaltusError, match=r"training mode, with attention dropout 0\.1"):
        capture_patterns(model.train(), draw_tokens())


@pytest.mark.parametrize(
    ("mask", "arguments", "message"),
    [
        (torch.zeros(1, 1, 2, 2), {"s_aux": torch.zeros(4)}, "hands s_aux to its attention"),
        (None, {}, "gives its attention no mask"),
    ],
)
def test_what_cannot_be_expressed_is_refused(mask: Tensor | None, arguments: dict[str, Any], message: str) -> None:
    module = torch.nn.Linear(1, 1)
    module.layer_idx = 0  # pyright: ignore[reportArgumentType]
    states = torch.zeros(1, 4, 2, 8)
    with pytest.raises(SaltusError, match=message):
        attend(module, states, states, states, mask, **arguments)
    with pytest.raises(SaltusError, match="has no layer_idx"):
        attend(torch.nn.Linear(1, 1), states, states, states, mask)
