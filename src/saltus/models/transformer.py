"""A decoder-only transformer for one seed, with its attention written out.

Shape comments: n sequences, q queries, k keys, h heads, d head dimension, m model width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.specs import TransformerSpec

ROTARY_BASE = 10_000.0


class Attention(nn.Module):
    """Causal multi-head attention; the head dimension is free of d_model / heads."""

    def __init__(self, spec: TransformerSpec, length: int) -> None:
        super().__init__()
        self.heads = spec.heads
        self.head_dimension = spec.head_dimension
        self.rotary = spec.positions == "rotary"
        inner = spec.heads * spec.head_dimension
        self.query_key_value = nn.Linear(spec.d_model, 3 * inner)
        self.output = nn.Linear(inner, spec.d_model)
        # Added, not filled in: a compiled sum of two float arrays is vectorised, a fill by a Boolean mask is not.
        self.register_buffer("future", torch.full((length, length), -torch.inf).triu(1), persistent=False)
        self.future: Tensor

    def forward(self, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """[n, q, m] -> the layer's output [n, q, m] and its pattern [n, h, q, k]; `bias` broadcasts to [h, q, k]."""
        n, q, _ = x.shape
        projected = self.query_key_value(x).view(n, q, 3, self.heads, self.head_dimension)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # 3 x [n, h, q, d]
        if self.rotary:
            query, key = _rotate(query), _rotate(key)
        scores = (query @ key.transpose(-1, -2)).float() / math.sqrt(self.head_dimension)  # [n, h, q, k]
        if bias is not None:
            scores = scores + bias
        pattern = torch.softmax(scores + self.future[:q, :q], dim=-1)
        mixed = pattern.to(value.dtype) @ value  # [n, h, q, d]
        return self.output(mixed.transpose(1, 2).reshape(n, q, -1)), pattern


class Block(nn.Module):
    """Attention, then an MLP with GELU, each behind a layer normalisation and around a residual."""

    def __init__(self, spec: TransformerSpec, length: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(spec.d_model)
        self.attention = Attention(spec, length)
        self.mlp_norm = nn.LayerNorm(spec.d_model)
        self.mlp_in = nn.Linear(spec.d_model, spec.mlp_width)
        self.mlp_out = nn.Linear(spec.mlp_width, spec.d_model)

    def forward(self, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """[n, q, m] -> the residual stream [n, q, m] and the pattern [n, h, q, k]."""
        mixed, pattern = self.attention(self.attention_norm(x), bias)
        x = x + mixed
        return x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x)))), pattern


class Transformer(nn.Module):
    """Tokens to next-token logits."""

    def __init__(self, spec: TransformerSpec, *, symbols: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, spec.d_model)
        self.positions = nn.Parameter(torch.empty(length, spec.d_model)) if spec.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(spec, length) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.d_model)
        self.unembedding = nn.Linear(spec.d_model, symbols)
        nn.init.normal_(self.embedding.weight, std=0.02)
        if self.positions is not None:
            nn.init.normal_(self.positions, std=0.02)

    def forward(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """Tokens [n, q] -> float32 logits of the next token [n, q, symbol].

        `bias` is added to the attention logits of every layer before the softmax; it broadcasts to
        [layer, h, q, k].
        """
        return self.forward_with_patterns(tokens, bias)[0]

    def forward_with_patterns(self, tokens: Tensor, bias: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `forward`, and the attention after the softmax of each layer, [n, h, q, k]."""
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions[: tokens.shape[1]]
        patterns: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            x, pattern = block(x, None if bias is None else bias[layer])
            patterns.append(pattern)
        return self.unembedding(self.norm(x)).float(), tuple(patterns)


def _rotate(x: Tensor) -> Tensor:
    """Rotary position embedding over the whole head (arXiv 2104.09864, half-split layout): [n, h, q, d] -> same."""
    q, half = x.shape[-2], x.shape[-1] // 2
    frequency = ROTARY_BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = torch.arange(q, device=x.device, dtype=torch.float32)[:, None] * frequency  # [q, d/2]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
