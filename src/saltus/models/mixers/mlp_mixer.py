"""Static mixing: what a token takes from the tokens before it depends on their positions alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltus.specs import MlpMixerSpec


class CausalMatrix(nn.Module):
    """A learned affine map over positions that is lower triangular, one for each head."""

    def __init__(self, heads: int, length: int) -> None:
        super().__init__()
        # As PyTorch's linear maps, by the number of inputs that the row does have.
        bound = torch.arange(1, length + 1).rsqrt()
        self.weight = nn.Parameter(torch.empty(heads, length, length).uniform_(-1, 1) * bound[:, None])
        self.bias = nn.Parameter(torch.empty(heads, length).uniform_(-1, 1) * bound)

    def forward(self, x: Tensor) -> Tensor:
        """[n, h, k, d] -> [n, h, q, d]."""
        q = x.shape[2]
        return self.weight[:, :q, :q].tril() @ x + self.bias[:, :q, None]


class MlpMixer(nn.Module):
    """Attention's place taken by a matrix over positions, as the token mixing of MLP-Mixer (arXiv 2105.01601, eq. 1).

    Made causal, since the sequence is predicted from itself (arXiv 2606.25010). The variants: `single`, y = W x with
    one W for all channels; `hidden`, y = W_2 gelu(W_1 x), where a hidden unit belongs to a position and sees those up
    to it; `heads`, attention with its pattern replaced: values are projected and split into heads, each head has a W
    of its own, and an output projection joins them.
    """

    def __init__(self, spec: MlpMixerSpec, length: int) -> None:
        super().__init__()
        heads = spec.heads or 1
        self.heads = heads
        self.variant = spec.variant
        self.mixing = CausalMatrix(heads, length)
        if spec.variant == "hidden":
            self.second_mixing = CausalMatrix(heads, length)
        if spec.variant == "heads":
            self.value = nn.Linear(spec.d_model, spec.d_model)
            self.output = nn.Linear(spec.d_model, spec.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """[n, q, m] -> [n, q, m]."""
        if self.variant == "heads":
            value = self.value(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [n, h, k, d]
            return self.output(self.mixing(value).transpose(1, 2).flatten(2))  # [n, h, q, d] -> [n, q, m]
        mixed = self.mixing(x[:, None])  # [n, 1, q, m]
        if self.variant == "hidden":
            mixed = self.second_mixing(F.gelu(mixed))
        return mixed[:, 0]
