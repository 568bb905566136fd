"""Weights begin as published."""

import math

import torch
import torch.nn.functional as F
from tests.models.mixers.cases import draw
from torch import Tensor

from saltus.models.mixers.gated_delta_net import GatedDeltaNet
from saltus.models.mixers.linear_rnn import LinearRnn
from saltus.models.mixers.mamba import Mamba
from saltus.models.mixers.mlp_mixer import MlpMixer
from saltus.models.mixers.mlstm import Mlstm
from saltus.models.mixers.rwkv import Rwkv
from saltus.specs import GatedDeltaNetSpec, LinearRnnSpec, MambaSpec, MlpMixerSpec, MlstmSpec, RwkvSpec


def check_uniform(values: Tensor, low: float, high: float) -> None:
    """That many values fill a range evenly: none is outside, and each tenth of it holds a tenth of them."""
    assert values.numel() > 500
    place = (values.flatten() - low) / (high - low)
    assert place.min() > -1e-4
    assert place.max() < 1 + 1e-4
    share = torch.histc(place, 10, 0, 1) / values.numel()
    assert (share - 0.1).abs().max() < 0.06


def test_mamba() -> None:
    torch.manual_seed(0)
    mixer = Mamba(MambaSpec(d_model=512, d_state=3, expansion=2), 5)
    check_uniform(F.softplus(mixer.step.bias).log(), math.log(0.001), math.log(0.1))
    check_uniform(mixer.step.weight, -1 / math.sqrt(32), 1 / math.sqrt(32))
    torch.testing.assert_close(mixer.log_rate.exp(), torch.tensor([1.0, 2.0, 3.0]).expand(1024, -1))
    assert torch.equal(mixer.skip, torch.ones(1024))


def test_gated_delta_net() -> None:
    torch.manual_seed(0)
    mixer = GatedDeltaNet(GatedDeltaNetSpec(d_model=8, heads=1024, d_head=1), 5)
    check_uniform(F.softplus(mixer.step_bias).log(), math.log(0.001), math.log(0.1))
    check_uniform(mixer.log_decay.exp(), 0.01, 16)


def test_rwkv() -> None:
    mixer = Rwkv(RwkvSpec(d_model=8), 5)
    assert torch.equal(mixer(draw(2, 5)), torch.zeros(2, 5, 8))
    torch.testing.assert_close(mixer.value.weight @ mixer.value.weight.T, torch.eye(8))
    expected = torch.tensor([8 * (i / 7) ** 0.7 - 5 for i in range(8)])
    torch.testing.assert_close(mixer.log_decay, expected, check_dtype=True)
    torch.testing.assert_close(mixer.key_shift, torch.arange(8) / 8)
    torch.testing.assert_close(mixer.receptance_shift, (torch.arange(8) / 8).sqrt())
    zigzag = torch.tensor([0, 0.5, -0.5, 0, 0.5, -0.5, 0, 0.5])
    torch.testing.assert_close(mixer.bonus, math.log(0.3) + zigzag)


def test_mlstm() -> None:
    mixer = Mlstm(MlstmSpec(d_model=8, heads=4), 5)
    torch.testing.assert_close(mixer.gates.bias[4:], torch.tensor([3.0, 4.0, 5.0, 6.0]))
    assert 0 < mixer.gates.bias[:4].abs().max() < 1
    assert not mixer.gates.weight.any()


def test_linear_rnn() -> None:
    torch.manual_seed(0)
    mixer = LinearRnn(LinearRnnSpec(d_model=8, d_state=1024), 5)
    check_uniform(torch.exp(-8 * F.softplus(mixer.decay)), 0.9, 0.999)


def test_mlp_mixer() -> None:
    torch.manual_seed(0)
    mixer = MlpMixer(MlpMixerSpec(d_model=8, variant="heads", heads=8), 100)
    for query in (0, 9, 99):
        rows = mixer.mixing.weight[:, query, : query + 1]
        assert rows.abs().max() <= 1 / math.sqrt(query + 1)
        assert rows.abs().max() > 0.5 / math.sqrt(query + 1)
