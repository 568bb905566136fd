"""Linear attention: a positive feature map in the place of the softmax."""

import torch.nn.functional as F
from torch import Tensor, nn

from saltus.models.mixers.precision import in_float32
from saltus.specs import LinearAttentionSpec


class LinearAttention(nn.Module):
    """Causal linear attention between the projections of attention (arXiv 2006.16236); it works at any length."""

    def __init__(self, spec: LinearAttentionSpec, length: int) -> None:
        super().__init__()
        self.heads = spec.heads
        inner = spec.heads * spec.head_dimension
        self.query_key_value = nn.Linear(spec.d_model, 3 * inner)
        self.output = nn.Linear(inner, spec.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]."""
        separate = self.query_key_value(x).unflatten(-1, (3, self.heads, -1))  # [n, q, 3, h, d]
        query, key, value = separate.permute(2, 0, 3, 1, 4)  # 3 x [n, h, q, d]
        mixed = linear_attention(query, key, value)  # [n, h, q, d]
        return self.output(mixed.transpose(1, 2).flatten(2))  # [n, q, h*d] -> [n, q, m]


@in_float32
def linear_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The mean of v_i, i <= t, with weights f(q_t)' f(k_i), f(x) = elu(x) + 1 (arXiv 2006.16236, eq. 7 to 9).

    3 x [n, h, q, d] -> [n, h, q, d]. Sequences are short, so the weights are written out, as attention's are.
    """
    scores = ((F.elu(query) + 1) @ (F.elu(key) + 1).transpose(-1, -2)).tril()  # [n, h, q, k]
    return scores @ value / (scores.sum(-1, keepdim=True) + 1e-6)
