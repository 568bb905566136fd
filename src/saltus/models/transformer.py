"""A decoder-only transformer for one seed, with its attention written out.

Shape comments: n sequences, q queries, k keys, h heads, d head dimension, m model width.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.specs import TransformerSpec

ROTARY_BASE = 10_000.0

FEW_SYMBOLS = 8
"""Up to so many, the first block's projection is made once for each symbol and position, not for each token."""


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

    def forward(self, projected: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Queries, keys and values [n, q, 3*h*d] -> the layer's output [n, q, m] and its pattern [n, h, q, k].

        `bias` broadcasts to [h, q, k].
        """
        n, q, _ = projected.shape
        separate = projected.view(n, q, 3, self.heads, self.head_dimension)
        query, key, value = separate.permute(2, 0, 3, 1, 4)  # 3 x [n, h, q, d]
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

    def project(self, x: Tensor) -> Tensor:
        """[..., m] -> queries, keys and values [..., 3*h*d]: what the block does to each token on its own."""
        return self.attention.query_key_value(self.attention_norm(x))

    def forward(self, x: Tensor, projected: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """[n, q, m] and its projection -> the residual stream [n, q, m] and the pattern [n, h, q, k]."""
        mixed, pattern = self.attention(projected, bias)
        x = x + mixed
        return x + self.mlp_out(F.gelu(self.mlp_in(self.mlp_norm(x)))), pattern


class Transformer(nn.Module):
    """Tokens to next-token logits."""

    def __init__(self, spec: TransformerSpec, *, symbols: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, spec.d_model)
        self.positions = nn.Parameter(torch.empty(length, spec.d_model)) if spec.positions == "learned" else None
        self.blocks = cast("list[Block]", nn.ModuleList(Block(spec, length) for _ in range(spec.layers)))
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
        x, projected = self._embed(tokens)
        patterns: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            if layer:
                projected = block.project(x)
            x, pattern = block(x, projected, None if bias is None else bias[layer])
            patterns.append(pattern)
        return self.unembedding(self.norm(x)).float(), tuple(patterns)

    def _embed(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[n, q] -> what enters the first block, [n, q, m], and its projection there, [n, q, 3*h*d]."""
        q = tokens.shape[1]
        positions = torch.zeros_like(self.embedding.weight[:1]) if self.positions is None else self.positions[:q]
        reduced = torch.is_autocast_enabled(tokens.device.type)  # products are cheap then, and taking rows is not
        if reduced or self.embedding.num_embeddings > FEW_SYMBOLS:
            x = self.embedding(tokens) + positions
            return x, self.blocks[0].project(x)
        # A token and its position are all that enters: c*q different vectors, however many sequences there are.
        table = self.embedding.weight[:, None] + positions  # [c, q, m]
        return _select(table, tokens), _select(self.blocks[0].project(table), tokens)


def _select(table: Tensor, tokens: Tensor) -> Tensor:
    """Of a table [c, q, m] the rows of the tokens [n, q] -> [n, q, m].

    Written as a sum with one term that is not zero, because its gradient is a sum too: that of a look-up adds up
    element by element.
    """
    symbols = torch.arange(len(table), device=tokens.device)
    chosen = (tokens[..., None] == symbols).to(table.dtype)  # [n, q, c]
    return (chosen[..., None] * table.transpose(0, 1)).sum(2)  # [n, q, c, m] -> [n, q, m]


def _rotate(x: Tensor) -> Tensor:
    """Rotary position embedding over the whole head (arXiv 2104.09864, half-split layout): [n, h, q, d] -> same."""
    q, half = x.shape[-2], x.shape[-1] // 2
    frequency = ROTARY_BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = torch.arange(q, device=x.device, dtype=torch.float32)[:, None] * frequency  # [q, d/2]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
