"""Dot-product attention, written out: its patterns can be kept and biased.

Shape comments: n sequences, q queries, k keys, h heads, d head dimension, m model width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.specs import TransformerSpec

ROTARY_BASE = 10_000.0

LONG = 128
"""From so many queries on, attention is fused where its pattern is not asked for: 15% faster there, slower below."""

LONG_BFLOAT16 = 2048
"""The same in bfloat16 on a CPU, where the fused gradient takes twice as long as all the rest at 128 queries."""

BLOCK = 128
"""Queries that attend together in bfloat16 on a CPU: keys after the last of them are left out, and scores stay in the
cache. At 256 and 512 queries it takes .4 of the time of whole patterns and of fused attention."""


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

    def project(self, x: Tensor) -> Tensor:
        """[..., m] -> queries, keys and values [..., 3*h*d]."""
        return self.query_key_value(x)

    def mix(self, projected: Tensor, bias: Tensor | None, *, keep: bool) -> tuple[Tensor, Tensor | None]:
        """[n, q, 3*h*d] -> the layer's output [n, q, m] and its pattern [n, h, q, k].

        `bias` broadcasts to [h, q, k]. The pattern is None unless it is to be kept: a long one never exists as a whole.
        """
        q = projected.shape[1]
        query, key, value = self.split(projected)
        if self.rotary:
            query, key = _rotate(query), _rotate(key)
        low = query.dtype == torch.bfloat16 and query.device.type == "cpu"
        if q >= (LONG_BFLOAT16 if low else LONG) and not keep:
            # With three axes a mask is added to whole patterns, which is slower, and is no way at all for the gradient
            # of torch.func in bfloat16.
            mask = None if bias is None else (bias + self.future[:q, :q]).to(query.dtype).view(1, -1, q, q)
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
            return self.merge(mixed), None
        added = self.future[:q, :q] if bias is None else bias + self.future[:q, :q]
        if low and q > BLOCK and not keep:
            ends = range(BLOCK, q + BLOCK, BLOCK)  # the last may lie beyond the queries
            parts = [
                _attend(
                    query[:, :, end - BLOCK : end],
                    key[:, :, :end],
                    value[:, :, :end],
                    added[..., end - BLOCK : end, :end],
                )
                for end in ends
            ]
            return self.merge(torch.cat([mixed for mixed, _ in parts], dim=2)), None
        mixed, pattern = _attend(query, key, value, added)
        return self.merge(mixed), pattern if keep else None

    def split(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[n, q, 3*h*d] -> queries, keys and values, each [n, h, q, d]."""
        n, q, _ = projected.shape
        separate = projected.view(n, q, 3, self.heads, self.head_dimension)
        query, key, value = separate.permute(2, 0, 3, 1, 4)
        return query, key, value

    def merge(self, mixed: Tensor) -> Tensor:
        """What the heads took, [n, h, q, d] -> the layer's output [n, q, m]."""
        return self.output(mixed.transpose(1, 2).flatten(2))  # [n, q, h*d]


def _attend(query: Tensor, key: Tensor, value: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """[n, h, q, d] and twice [n, h, k, d] -> what heads take, [n, h, q, d], and patterns [n, h, q, k].

    `added` to the logits broadcasts to [h, q, k].
    """
    scores = (query @ key.transpose(-1, -2)).float() / math.sqrt(query.shape[-1])  # [n, h, q, k]
    pattern = torch.softmax(scores + added, dim=-1)
    return pattern.to(value.dtype) @ value, pattern


def _rotate(x: Tensor) -> Tensor:
    """Rotary position embedding over the whole head (arXiv 2104.09864, half-split layout): [n, h, q, d] -> same."""
    q, half = x.shape[-2], x.shape[-1] // 2
    frequency = ROTARY_BASE ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = torch.arange(q, device=x.device, dtype=torch.float32)[:, None] * frequency  # [q, d/2]
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
