"""Griffin's recurrent block: a diagonal linear recurrence with gates."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.models.mixers.depthwise import Depthwise
from saltus.models.mixers.precision import in_float32
from saltus.models.mixers.scan import linear_scan
from saltus.specs import LinearRnnSpec

SHARPNESS = 8.0
"""c, the power to which an open recurrence gate raises the decay (arXiv 2402.19427, section 2.4)."""


class LinearRnn(nn.Module):
    """The recurrent block of Griffin with its RG-LRU (arXiv 2402.19427, sections 2.3 and 2.4); it works at any length.

    Shape comments: w width of the recurrence, b width of a gate's block.
    """

    def __init__(self, spec: LinearRnnSpec, length: int) -> None:
        super().__init__()
        width, heads = spec.state_dimension, spec.heads
        block = width // heads
        self.input = nn.Linear(spec.d_model, 2 * width)
        self.convolution = Depthwise(width, spec.conv_width, bias=True)
        self.gates = nn.Parameter(torch.empty(heads, block, 2 * block).normal_(std=1 / math.sqrt(block)))
        self.gate_bias = nn.Parameter(torch.zeros(heads, 2 * block))
        # The decay of an open gate, exp(-c softplus(decay)), is uniform over 0.9 to 0.999.
        self.decay = nn.Parameter((-torch.empty(width).uniform_(0.9, 0.999).log() / SHARPNESS).expm1().log())
        self.output = nn.Linear(width, spec.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]."""
        value, branch = self.input(x).chunk(2, dim=-1)  # [n, q, w] each
        value = self.convolution(value)
        blocks = value.unflatten(-1, (len(self.gates), -1))  # [n, q, h, b]
        gates = torch.einsum("nqhb,hbc->nqhc", blocks, self.gates) + self.gate_bias  # [n, q, h, 2*b]
        input_gate, recurrence_gate = (gate.flatten(2) for gate in gates.chunk(2, dim=-1))  # [n, q, w] each
        mixed = gated_recurrence(value, input_gate, recurrence_gate, self.decay)
        return self.output(mixed * F.gelu(branch, approximate="tanh"))


@in_float32
def gated_recurrence(value: Tensor, input_gate: Tensor, recurrence_gate: Tensor, decay: Tensor) -> Tensor:
    """h_t = a_t h_{t-1} + sqrt(1 - a_t^2) i_t x_t (arXiv 2402.19427, eq. 1 to 4).

    x = `value` and i = sigmoid(`input_gate`) [n, q, w], log a = -c sigmoid(`recurrence_gate`) softplus(`decay`) with
    `decay` [w] -> h [n, q, w].
    """
    log_a = -SHARPNESS * recurrence_gate.sigmoid() * F.softplus(decay)
    # Where a gate closes altogether a is 1, and the square root has no gradient at 0.
    norm = (-torch.expm1(2 * log_a)).clamp_min(1e-12).sqrt()
    return linear_scan(log_a.exp(), norm * input_gate.sigmoid() * value)
