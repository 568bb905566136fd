"""Gated DeltaNet: an associative memory that decays, and that is corrected where it errs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.models.mixers.depthwise import Depthwise
from saltus.models.mixers.mamba import draw_step_bias
from saltus.models.mixers.precision import in_float32
from saltus.specs import GatedDeltaNetSpec

CHUNK = 64
"""Tokens whose corrections are solved for at once."""


class GatedDeltaNet(nn.Module):
    """The token mixer of Gated DeltaNet (arXiv 2412.06464, section 3.4 and figure 1); it works at any length.

    Shape comments: d dimension of queries and keys, e of values.
    """

    def __init__(self, spec: GatedDeltaNetSpec, length: int) -> None:
        super().__init__()
        d, e = spec.head_dimension, spec.expansion * spec.head_dimension
        self.heads, self.sizes = spec.heads, [d, d, e]
        self.widths = [spec.heads * (d + d + e), spec.heads * e]
        self.input = nn.Linear(spec.d_model, sum(self.widths), bias=False)
        self.convolution = Depthwise(self.widths[0], spec.conv_width, bias=False)
        self.rate_step = nn.Linear(spec.d_model, 2 * spec.heads, bias=False)
        self.step_bias = nn.Parameter(draw_step_bias(spec.heads))
        self.log_decay = nn.Parameter(torch.empty(spec.heads).uniform_(0.01, 16).log())  # as Mamba-2, but never log 0
        self.scale = nn.Parameter(torch.ones(e))
        self.output = nn.Linear(spec.heads * e, spec.d_model, bias=False)
        self.register_buffer("future", torch.full((CHUNK, CHUNK), -torch.inf).triu(1), persistent=False)
        self.future: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]."""
        mixed, gate = self.input(x).split(self.widths, dim=-1)  # [n, q, h*(2*d+e)], [n, q, h*e]
        mixed = F.silu(self.convolution(mixed)).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [n, h, q, 2*d+e]
        rate, step = self.rate_step(x).transpose(1, 2).chunk(2, dim=1)  # [n, h, q] each
        step = step + self.step_bias[:, None]
        read = gated_delta_rule(*mixed.split(self.sizes, dim=-1), rate, step, self.log_decay, self.future)
        normal = F.rms_norm(read, read.shape[-1:], eps=1e-5) * self.scale  # [n, h, q, e]
        return self.output(normal.transpose(1, 2).flatten(2) * F.silu(gate))  # [n, q, h*e] -> [n, q, m]


@in_float32
def gated_delta_rule(
    query: Tensor, key: Tensor, value: Tensor, rate: Tensor, step: Tensor, log_decay: Tensor, future: Tensor
) -> Tensor:
    """S_t = alpha_t S_{t-1} (I - beta_t k_t k_t') + beta_t v_t k_t' and o_t = S_t q_t (arXiv 2412.06464, eq. 10).

    q and k = `query` and `key` [n, h, q, d] over their norms, q over sqrt(d) as well; v = `value` [n, h, q, e];
    beta = sigmoid(`rate`) and alpha = exp(-exp(`log_decay`) softplus(`step`)) [n, h, q] -> o [n, h, q, e]. Chunk after
    chunk, each in parallel (section 3.3).
    """
    query, key = _normalise(query) * query.shape[-1] ** -0.5, _normalise(key)
    log_alpha = -log_decay.exp()[:, None] * F.softplus(step)
    state = value.new_zeros(*key.shape[:2], key.shape[-1], value.shape[-1])  # S' [n, h, d, e]
    chunks = [x.split(CHUNK, dim=2) for x in (query, key, value, rate.sigmoid()[..., None], log_alpha[..., None])]
    reads: list[Tensor] = []
    for query, key, value, beta, log_alpha in zip(*chunks, strict=True):
        read, state = _advance(state, query, key, value, beta, log_alpha, future)
        reads.append(read)
    return torch.cat(reads, dim=2)


def _advance(
    state: Tensor, query: Tensor, key: Tensor, value: Tensor, beta: Tensor, log_alpha: Tensor, future: Tensor
) -> tuple[Tensor, Tensor]:
    """One chunk from the state before it, [n, h, d, e] -> what is read, [n, h, q, e], and the state after it.

    What token i writes is u_i = beta_i (v_i - what the memory, decayed, holds under k_i), and that memory holds the u_j
    of the tokens before: a unit lower triangular system.
    """
    q = value.shape[-2]
    decay = log_alpha.cumsum(-2)  # [n, h, q, 1], the logarithm of the decay since the chunk's start
    between = torch.exp(decay - decay.transpose(-1, -2) + future[:q, :q])  # [n, h, q, k]
    system = beta * (key @ key.transpose(-1, -2)) * between  # read below its diagonal alone
    error = beta * (value - decay.exp() * (key @ state))
    written = torch.linalg.solve_triangular(system, error, upper=False, unitriangular=True)  # u [n, h, q, e]
    read = decay.exp() * (query @ state) + (query @ key.transpose(-1, -2) * between) @ written
    last = decay[..., -1:, :]
    return read, last.exp() * state + ((last - decay).exp() * key).transpose(-1, -2) @ written


def _normalise(x: Tensor) -> Tensor:
    """[..., d] -> the same, of length one."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
