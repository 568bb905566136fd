"""Trainings of tiny models in a plain loop, watched or not."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from tests.lm.tiny_suite import WORDS, make_word_tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from saltus.monitor import Monitor
from saltus.specs.training import ScheduleSpec

TOKENIZER = make_word_tokenizer()
OFTEN = ScheduleSpec(every=5)


@dataclass
class Clock:
    """Time that passes when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def make_llama(dropout: float = 0.1) -> LlamaForCausalLM:
    """Two layers of two heads, in training mode, with dropout in the attention."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 32}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 48}
    config = LlamaConfig(**sizes, attention_dropout=dropout, bos_token_id=None, eos_token_id=None)
    return LlamaForCausalLM(config).train()


class OwnAttention(nn.Module):
    """A model that is nobody's: one layer, one head, dropout, and a buffer that counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(WORDS), 16)
        self.query, self.key = nn.Linear(16, 16), nn.Linear(16, 16)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(16, len(WORDS))
        self.register_buffer("passes", torch.zeros(()))

    def attend(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[sequence, 1, query, key] and the residual stream [sequence, position, 16]."""
        hidden = self.embed(tokens)
        scores = self.query(hidden) @ self.key(hidden).transpose(1, 2) / 4.0
        hidden_keys = torch.ones_like(scores[0], dtype=torch.bool).triu(1)
        pattern = scores.masked_fill(hidden_keys, -torch.inf).softmax(-1)
        return pattern[:, None], hidden

    def forward(self, tokens: Tensor) -> Tensor:
        self.passes += 1
        pattern, hidden = self.attend(tokens)
        return self.head(self.dropout(hidden + pattern[:, 0] @ hidden))


def read_logits(model: Any, tokens: Tensor) -> Tensor:
    return model(tokens)


def read_attention(model: Any, tokens: Tensor) -> list[Tensor]:
    return [model.attend(tokens)[0]]


def be_quiet() -> Console:
    return Console(file=StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def watch(path: Path, **settings: Any) -> Monitor:
    """A monitor of everything, often, without a bound, that says nothing."""
    settings = {"schedule": OFTEN, "at_most": None, "console": be_quiet(), "capabilities": ["repetition"]} | settings
    return Monitor(path, tokenizer=TOKENIZER, **settings)


def train(
    model: nn.Module,
    steps: int,
    monitor: Monitor | None = None,
    *,
    first: int = 0,
    shown: nn.Module | None = None,
    logits: Callable[[Any, Tensor], Tensor] = lambda model, tokens: model(tokens).logits,
) -> dict[str, Any]:
    """AdamW on random tokens, drawn in three ways; weights, moments and random states at the end.

    `shown` is what the monitor is given in place of the model.
    """
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    if monitor:
        monitor.step(first, shown or model)
    for step in range(first, steps):
        rows = [torch.randint(0, 8, (2, 12)), torch.from_numpy(np.random.randint(8, 16, (1, 12)))]
        tokens = torch.cat([*rows, torch.tensor([random.choices(range(16, 32), k=12)])])
        read = logits(shown or model, tokens)
        loss = cross_entropy(read[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if monitor:
            monitor.step(step + 1, shown or model, loss=loss)
    return {
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "moments": optimiser.state_dict()["state"],
        "random": (torch.get_rng_state(), np.random.get_state(legacy=False), random.getstate()),
        "modes": [module.training for module in model.modules()],
    }


def flatten(state: Any) -> list[Any]:
    """The leaves, with tensors as bytes."""
    if isinstance(state, Tensor):
        return [state.contiguous().view(torch.uint8).tolist() if state.ndim else state.item()]
    if isinstance(state, np.ndarray):
        return state.tolist()
    if isinstance(state, dict):
        return [leaf for key in state for leaf in (key, *flatten(state[key]))]
    if isinstance(state, list | tuple):
        return [leaf for each in state for leaf in flatten(each)]
    return [state]
