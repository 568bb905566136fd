"""Tiny random language models of several families."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

Build = Callable[[int], PreTrainedModel]
"""A model from a seed: 3 layers, 4 heads (over 2 key heads where the family has them), 50 symbols, context 32."""

_SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
}
_GROUPED: dict[str, Any] = {
    **_SIZES,
    "num_key_value_heads": 2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
_WINDOWS = ["sliding_attention", "full_attention", "sliding_attention"]
_FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**_SIZES, bos_token_id=None, eos_token_id=None)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_GROUPED)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_embd=32, n_layer=3, n_head=4, n_positions=32, bos_token_id=None, eos_token_id=None)
    ),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**_GROUPED)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_GROUPED, head_dim=16)),
    # What follows has something after its head, or windows in some of its layers, or both.
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**_GROUPED, head_dim=8, sliding_window=4, attn_logit_softcapping=5.0, final_logit_softcapping=3.0)
    ),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**_GROUPED, head_dim=8, sliding_window=4, layer_types=_WINDOWS, final_logit_softcapping=3.0)
    ),
    "granite": lambda: GraniteForCausalLM(
        GraniteConfig(**_GROUPED, logits_scaling=2.0, residual_multiplier=0.5, attention_multiplier=0.5)
    ),
    "cohere2": lambda: Cohere2ForCausalLM(
        Cohere2Config(**_GROUPED, logit_scale=0.5, sliding_window=4, layer_types=_WINDOWS)
    ),
}


@pytest.fixture(params=sorted(_FAMILIES))
def build(request: pytest.FixtureRequest) -> Build:
    """Builds models of one family after the other."""

    def build_one(seed: int) -> PreTrainedModel:
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        model = _FAMILIES[request.param]()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.normal_(0.0, 0.3)  # patterns far from uniform, so that it matters which one is there
        return model.eval().requires_grad_(requires_grad=False)

    return build_one
