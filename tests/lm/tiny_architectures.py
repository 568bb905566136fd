"""Checkpoints of tiny random models of many kinds, and with many faults."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tests.lm.tiny_suite import make_word_tokenizer
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel

WORDS = [f"w{number}" for number in range(64)]
TOKENIZER = make_word_tokenizer(WORDS, unknown="w0")
SIZES: dict[str, Any] = {
    **{"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"intermediate_size": 64, "max_position_embeddings": 64},
    **{"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0},
}

Weights = dict[str, Tensor]


def make(build: Callable[[], PreTrainedModel], seed: int = 0, gain: float = 8.0) -> PreTrainedModel:
    """A model with random weights, large enough that it prefers some tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(gain)
    return model.eval()


def make_neox(seed: int = 0, **changes: Any) -> PreTrainedModel:
    return make(lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**{**SIZES, **changes})), seed)


def save(model: PreTrainedModel, folder: Path, *, tokenizer: bool = True) -> Path:
    model.save_pretrained(folder)
    if tokenizer:
        TOKENIZER.save_pretrained(folder)
    return folder


def edit_weights(folder: Path, edit: Callable[[Weights], Weights]) -> Path:
    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path, metadata={"format": "pt"})
    return folder


def edit_configuration(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder
