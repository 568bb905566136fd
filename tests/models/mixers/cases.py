"""Every token mixer, small, for the tests that hold for all of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltus.models.mixers.convolution import Convolution
from saltus.models.mixers.gated_delta_net import GatedDeltaNet
from saltus.models.mixers.linear_attention import LinearAttention
from saltus.models.mixers.linear_rnn import LinearRnn
from saltus.models.mixers.mamba import Mamba
from saltus.models.mixers.mlp_mixer import MlpMixer
from saltus.models.mixers.mlstm import Mlstm
from saltus.models.mixers.rwkv import Rwkv
from saltus.specs import (
    ConvolutionSpec,
    GatedDeltaNetSpec,
    LinearAttentionSpec,
    LinearRnnSpec,
    MambaSpec,
    MlpMixerSpec,
    MlstmSpec,
    RwkvSpec,
)

WIDTH = 8
SMALL: dict[str, Any] = {"d_model": WIDTH, "layers": 2}

CASES: dict[str, Callable[[int], nn.Module]] = {
    "mlp_mixer": lambda length: MlpMixer(MlpMixerSpec(**SMALL), length),
    "mlp_mixer_heads": lambda length: MlpMixer(MlpMixerSpec(**SMALL, variant="heads", heads=2), length),
    "mlp_mixer_hidden": lambda length: MlpMixer(MlpMixerSpec(**SMALL, variant="hidden"), length),
    "mamba": lambda length: Mamba(MambaSpec(**SMALL, d_state=3, conv_width=3), length),
    "gated_delta_net": lambda length: GatedDeltaNet(GatedDeltaNetSpec(**SMALL, heads=2), length),
    "rwkv": lambda length: Rwkv(RwkvSpec(**SMALL), length),
    "mlstm": lambda length: Mlstm(MlstmSpec(**SMALL, heads=2), length),
    "linear_rnn": lambda length: LinearRnn(LinearRnnSpec(**SMALL, heads=2, d_state=6), length),
    "linear_attention": lambda length: LinearAttention(LinearAttentionSpec(**SMALL, heads=2), length),
    "convolution": lambda length: Convolution(ConvolutionSpec(**SMALL, conv_width=3), length),
}


def make_mixer(kind: str, length: int, seed: int = 0) -> nn.Module:
    """With noise on every parameter, so that none is where it was initialised, such as at zero."""
    torch.manual_seed(seed)
    mixer = CASES[kind](length)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return mixer


def draw(count: int, length: int, seed: int = 1) -> Tensor:
    """Sequences [n, q, m]."""
    return torch.randn(count, length, WIDTH, generator=torch.Generator().manual_seed(seed))
