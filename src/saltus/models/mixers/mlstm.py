"""xLSTM's matrix LSTM: linear attention with exponential gates."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.models.mixers.precision import in_float32
from saltus.specs import MlstmSpec

GATE_CAP = 15.0
"""Gates stay within this of zero before their activation (arXiv 2503.13427)."""


class Mlstm(nn.Module):
    """The mLSTM cell (arXiv 2405.04517, section 2.3) in the layer of xLSTM-7B (arXiv 2503.13427).

    That layer stands where attention stands and leaves the MLP to the backbone. Gates are initialised as in the
    first of the two papers' code: the forget gates nearly open, the input gates near one.
    Shape comments: d dimension of queries and keys, e of values.
    """

    def __init__(self, spec: MlstmSpec, length: int) -> None:
        super().__init__()
        m, heads = spec.d_model, spec.heads
        inner = heads * spec.head_dimension
        self.heads, self.sizes = heads, [spec.key_dimension, spec.key_dimension, spec.head_dimension]
        self.widths = [heads * sum(self.sizes), inner]
        self.input = nn.Linear(m, sum(self.widths), bias=False)
        self.gates = nn.Linear(m, 2 * heads)  # input gates, then forget gates
        self.scale = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, m, bias=False)
        nn.init.normal_(self.input.weight, std=math.sqrt(2 / (5 * m)))
        nn.init.normal_(self.output.weight, std=2 / (spec.layers * math.sqrt(m)))
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            self.gates.bias.copy_(torch.cat([0.1 * torch.randn(heads), torch.linspace(3, 6, heads)]))
        self.register_buffer("future", torch.full((length, length), -torch.inf).triu(1), persistent=False)
        self.future: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]."""
        q = x.shape[1]
        separate, output_gate = self.input(x).split(self.widths, dim=-1)  # [n, q, h*(2*d+e)], [n, q, h*e]
        separate = separate.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [n, h, q, 2*d+e]
        input_gate, forget_gate = self.gates(x).transpose(1, 2).chunk(2, dim=1)  # [n, h, q] each
        read = mlstm_cell(*separate.split(self.sizes, dim=-1), input_gate, forget_gate, self.future[:q, :q])
        normal = F.layer_norm(read, read.shape[-1:], eps=1e-6).transpose(1, 2).flatten(2)  # [n, q, h*e]
        return self.output(normal * self.scale * output_gate.sigmoid())


@in_float32
def mlstm_cell(
    query: Tensor, key: Tensor, value: Tensor, input_gate: Tensor, forget_gate: Tensor, future: Tensor
) -> Tensor:
    """C_t = f_t C_{t-1} + i_t v_t k_t', n_t = f_t n_{t-1} + i_t k_t, h_t = C_t q_t / max(|n_t' q_t|, 1).

    q = `query` and k = `key` [n, h, q, d], one of them over sqrt(d), v = `value` [n, h, q, e], i = exp(`input_gate`)
    and f = sigmoid(`forget_gate`) [n, h, q], both capped -> h [n, h, q, e]. All times at once, each row over the
    exponential of its largest gate (arXiv 2405.04517, eq. 19 to 27, and their parallel form in the appendix).
    """
    log_forget = F.logsigmoid(_cap(forget_gate)).cumsum(-1)
    log_gate = log_forget[..., :, None] - log_forget[..., None, :] + _cap(input_gate)[..., None, :] + future
    largest = log_gate.amax(-1, keepdim=True).detach()  # [n, h, q, 1]; h does not depend on it
    scores = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1]) * torch.exp(log_gate - largest)  # [n, h, q, k]
    norm = torch.maximum(scores.sum(-1, keepdim=True).abs(), torch.exp(-largest))
    return scores @ value / (norm + 1e-6)


def _cap(gate: Tensor) -> Tensor:
    """A gate before its activation, kept within the cap."""
    return GATE_CAP * torch.tanh(gate / GATE_CAP)
