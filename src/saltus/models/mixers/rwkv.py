"""RWKV-4: a softmax over the past whose weights fall with the distance, channel by channel."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.models.mixers.precision import in_float32
from saltus.models.mixers.scan import linear_scan
from saltus.specs import RwkvSpec


class Rwkv(nn.Module):
    """The time-mixing block of RWKV-4 (arXiv 2305.13048, section 3.1); it works at any length.

    Initialised as the authors' code initialises the first layer, in whichever layer it stands.
    """

    def __init__(self, spec: RwkvSpec, length: int) -> None:
        super().__init__()
        m = spec.d_model
        channel = torch.arange(m)
        self.key_shift = nn.Parameter(channel / m)
        self.value_shift = nn.Parameter(channel / m)
        self.receptance_shift = nn.Parameter((channel / m).sqrt())
        self.log_decay = nn.Parameter(8 * (channel / max(m - 1, 1)) ** 0.7 - 5)
        self.bonus = nn.Parameter(math.log(0.3) + 0.5 * ((channel + 1) % 3 - 1))
        self.key = nn.Linear(m, m, bias=False)
        self.value = nn.Linear(m, m, bias=False)
        self.receptance = nn.Linear(m, m, bias=False)
        self.output = nn.Linear(m, m, bias=False)
        nn.init.orthogonal_(self.value.weight)
        for zero in (self.key, self.receptance, self.output):
            nn.init.zeros_(zero.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]."""
        before = F.pad(x[:, :-1], (0, 0, 1, 0))
        change = x - before
        key = self.key(before + self.key_shift * change)
        value = self.value(before + self.value_shift * change)
        receptance = self.receptance(before + self.receptance_shift * change)
        return self.output(receptance.sigmoid() * wkv(key, value, self.log_decay, self.bonus))


@in_float32
def wkv(key: Tensor, value: Tensor, log_decay: Tensor, bonus: Tensor) -> Tensor:
    """The mean of v_i with weights exp(k_i - (t-1-i) w) for i < t and exp(u + k_t) for t.

    k = `key` and v = `value` [n, q, m], w = exp(`log_decay`) and u = `bonus` [m] -> [n, q, m] (arXiv 2305.13048, the
    WKV operator of section 3.1). Sums up to t are kept over the largest of their weights, exp(largest_t), as in the
    recurrent form of its appendix; the quotient does not depend on it.
    """
    decay = log_decay.exp()
    drift = torch.arange(key.shape[1], device=key.device)[:, None] * decay  # [q, m]
    largest = ((key + drift).cummax(dim=1).values - drift).detach()  # of k_i - (t-i) w over i <= t
    largest_before = F.pad(largest[:, :-1], (0, 0, 1, 0), value=-torch.inf)
    keep, weight = torch.exp(largest_before - decay - largest), torch.exp(key - largest)
    sums = (linear_scan(keep, weight * value), linear_scan(keep, weight))
    numerator, denominator = (F.pad(x[:, :-1], (0, 0, 1, 0)) for x in sums)  # of the tokens before
    scale = torch.maximum(largest_before, bonus + key).detach()
    past, now = torch.exp(largest_before - scale), torch.exp(bonus + key - scale)
    return (past * numerator + now * value) / (past * denominator + now)
