"""Mamba: a diagonal state space whose step size, input and output maps depend on the token."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.models.mixers.depthwise import Depthwise
from saltus.models.mixers.precision import in_float32
from saltus.models.mixers.scan import linear_scan
from saltus.specs import MambaSpec


class Mamba(nn.Module):
    """The Mamba block (arXiv 2312.00752, section 3.4 and figure 3); it works at any length.

    Shape comments: c channels of the state space (expansion * m), s states of each.
    """

    def __init__(self, spec: MambaSpec, length: int) -> None:
        super().__init__()
        channels = spec.expansion * spec.d_model
        self.sizes = [spec.step_rank, spec.d_state, spec.d_state]
        self.input = nn.Linear(spec.d_model, 2 * channels, bias=False)
        self.convolution = Depthwise(channels, spec.conv_width, bias=True)
        self.select = nn.Linear(channels, sum(self.sizes), bias=False)
        self.step = nn.Linear(spec.step_rank, channels)
        # S4D-real, A_s = -(s + 1) (section 3.6).
        self.log_rate = nn.Parameter(torch.arange(1.0, spec.d_state + 1).log().repeat(channels, 1))  # [c, s]
        self.skip = nn.Parameter(torch.ones(channels))
        self.output = nn.Linear(channels, spec.d_model, bias=False)
        bound = spec.step_rank**-0.5
        nn.init.uniform_(self.step.weight, -bound, bound)
        with torch.no_grad():
            self.step.bias.copy_(draw_step_bias(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]."""
        value, gate = self.input(x).chunk(2, dim=-1)  # [n, q, c] each
        value = F.silu(self.convolution(value))
        step, write, read = self.select(value).split(self.sizes, dim=-1)  # [n, q, rank], [n, q, s] twice
        mixed = selective_scan(value, self.step(step), self.log_rate, write, read)
        return self.output((mixed + self.skip * value) * F.silu(gate))


@in_float32
def selective_scan(value: Tensor, step: Tensor, log_rate: Tensor, write: Tensor, read: Tensor) -> Tensor:
    """h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t and y_t = C_t h_t (arXiv 2312.00752, algorithm 2).

    x = `value` [n, q, c], delta = softplus(`step`) [n, q, c], A = -exp(`log_rate`) [c, s], B = `write` and C = `read`
    [n, q, s] -> y [n, q, c]. B is discretised as delta B, as in the authors' code, not by the zero-order hold of eq. 4.
    """
    delta = F.softplus(step)
    decay = torch.exp(-delta[..., None] * log_rate.exp())  # [n, q, c, s]
    states = linear_scan(decay, (delta * value)[..., None] * write[:, :, None])  # [n, q, c, s]
    return (states * read[:, :, None]).sum(-1)


def draw_step_bias(count: int) -> Tensor:
    """[count] biases whose softplus is log-uniform over 0.001 to 0.1 (arXiv 2312.00752, section 3.6)."""
    delta = torch.empty(count).uniform_(math.log(1e-3), math.log(1e-1)).exp()
    return delta.expm1().log()
