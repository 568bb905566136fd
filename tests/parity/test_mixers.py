"""Token mixers against transformers' own modules, with the same weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import MambaConfig, Qwen3NextConfig, RecurrentGemmaConfig, RwkvConfig, xLSTMConfig
from transformers.models.mamba.modeling_mamba import MambaMixer
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRecurrentBlock
from transformers.models.rwkv.modeling_rwkv import RwkvSelfAttention
from transformers.models.xlstm.modeling_xlstm import xLSTMBlock

from saltus.models.mixers.gated_delta_net import GatedDeltaNet
from saltus.models.mixers.linear_rnn import LinearRnn
from saltus.models.mixers.mamba import Mamba
from saltus.models.mixers.mlstm import Mlstm
from saltus.models.mixers.rwkv import Rwkv
from saltus.specs import GatedDeltaNetSpec, LinearRnnSpec, MambaSpec, MlstmSpec, RwkvSpec

WIDTH, LENGTH = 12, 70
SMALL: dict[str, Any] = {"d_model": WIDTH}

any_length = pytest.mark.parametrize("q", [1, 3, 15, 64, LENGTH])


def draw(q: int) -> Tensor:
    """Sequences [n, q, m]."""
    return torch.randn(3, q, WIDTH, generator=torch.Generator().manual_seed(1))


def randomise(theirs: nn.Module) -> dict[str, Tensor]:
    """Their weights by name, drawn anew: large enough that each of them matters."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    theirs.eval()
    return dict(theirs.named_parameters())


def check(mine: nn.Module, weights: dict[str, Tensor], x: Tensor, expected: Tensor) -> None:
    """That mine, with these weights, gives what theirs gave."""
    mine.load_state_dict(weights)
    with torch.no_grad():
        found = mine(x)
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


@any_length
def test_mamba(q: int) -> None:
    config = MambaConfig(
        hidden_size=WIDTH, state_size=5, expand=2, conv_kernel=4, time_step_rank=3, num_hidden_layers=1
    )
    theirs: Any = MambaMixer(config, layer_idx=0)
    w, x = randomise(theirs), draw(q)
    weights = {
        "input.weight": w["in_proj.weight"],
        "convolution.weight": w["conv1d.weight"][:, 0],
        "convolution.bias": w["conv1d.bias"],
        "select.weight": w["x_proj.weight"],
        "step.weight": w["dt_proj.weight"],
        "step.bias": w["dt_proj.bias"],
        "log_rate": w["A_log"],
        "skip": w["D"],
        "output.weight": w["out_proj.weight"],
    }
    check(Mamba(MambaSpec(**SMALL, d_state=5, d_step=3), LENGTH), weights, x, theirs(x))


@any_length
def test_gated_delta_net(q: int) -> None:
    heads, d, e = 3, 4, 8
    config = Qwen3NextConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        linear_num_key_heads=heads,
        linear_num_value_heads=heads,
        linear_key_head_dim=d,
        linear_value_head_dim=e,
        linear_conv_kernel_dim=4,
        rms_norm_eps=1e-5,
    )
    theirs: Any = Qwen3NextGatedDeltaNet(config, layer_idx=0)
    w, x = randomise(theirs), draw(q)
    projected = w["in_proj_qkvz.weight"].view(heads, 2 * d + 2 * e, WIDTH)  # theirs, head by head
    steps = w["in_proj_ba.weight"].view(heads, 2, WIDTH)
    filters = w["conv1d.weight"][:, 0].split([heads * d, heads * d, heads * e])  # all queries, all keys, all values
    weights = {
        "input.weight": torch.cat([projected[:, : 2 * d + e].flatten(0, 1), projected[:, 2 * d + e :].flatten(0, 1)]),
        "convolution.weight": torch.cat([part.view(heads, -1, 4) for part in filters], dim=1).flatten(0, 1),
        "rate_step.weight": torch.cat([steps[:, 0], steps[:, 1]]),
        "step_bias": w["dt_bias"],
        "log_decay": w["A_log"],
        "scale": w["norm.weight"],
        "output.weight": w["out_proj.weight"],
    }
    check(GatedDeltaNet(GatedDeltaNetSpec(**SMALL, heads=heads, d_head=d), LENGTH), weights, x, theirs(x))


@any_length
def test_rwkv(q: int) -> None:
    theirs: Any = RwkvSelfAttention(RwkvConfig(hidden_size=WIDTH, num_hidden_layers=2), layer_id=0)
    w, x = randomise(theirs), draw(q)
    weights = {
        "key_shift": w["time_mix_key"][0, 0],
        "value_shift": w["time_mix_value"][0, 0],
        "receptance_shift": w["time_mix_receptance"][0, 0],
        "log_decay": w["time_decay"],
        "bonus": w["time_first"],
        **{f"{name}.weight": w[f"{name}.weight"] for name in ("key", "value", "receptance", "output")},
    }
    check(Rwkv(RwkvSpec(**SMALL), LENGTH), weights, x, theirs(x)[0])


@any_length
def test_mlstm(q: int) -> None:
    config = xLSTMConfig(hidden_size=WIDTH, num_heads=3, num_hidden_layers=1)
    theirs: Any = xLSTMBlock(config).mlstm_layer
    w, x = randomise(theirs), draw(q)
    by_head = [w[f"{name}.weight"].view(3, -1, WIDTH) for name in ("q", "k", "v")]
    weights = {
        "input.weight": torch.cat([torch.cat(by_head, dim=1).flatten(0, 1), w["ogate_preact.weight"]]),
        "gates.weight": torch.cat([w["igate_preact.weight"], w["fgate_preact.weight"]]),
        "gates.bias": torch.cat([w["igate_preact.bias"], w["fgate_preact.bias"]]),
        "scale": w["multihead_norm.weight"],
        "output.weight": w["out_proj.weight"],
    }
    check(Mlstm(MlstmSpec(**SMALL, heads=3), LENGTH), weights, x, theirs(x)[0])


@any_length
def test_linear_rnn(q: int) -> None:
    config = RecurrentGemmaConfig(hidden_size=WIDTH, lru_width=18, num_attention_heads=3, num_hidden_layers=1)
    theirs: Any = RecurrentGemmaRecurrentBlock(config, layer_idx=0)
    w, x = randomise(theirs), draw(q)
    gates = [w[f"rg_lru.{name}_gate_weight"] for name in ("input", "recurrent")]
    biases = [w[f"rg_lru.{name}_gate_bias"] for name in ("input", "recurrent")]
    weights = {
        "input.weight": torch.cat([w["linear_x.weight"], w["linear_y.weight"]]),
        "input.bias": torch.cat([w["linear_x.bias"], w["linear_y.bias"]]),
        "convolution.weight": w["conv_1d.weight"][:, 0],
        "convolution.bias": w["conv_1d.bias"],
        "gates": torch.cat(gates, dim=-1),
        "gate_bias": torch.cat(biases, dim=-1),
        "decay": w["rg_lru.recurrent_param"],
        "output.weight": w["linear_out.weight"],
        "output.bias": w["linear_out.bias"],
    }
    # Their code does not weigh the input at position 0 by sqrt(1 - a^2), the paper does; so positions begin at 1.
    positions = torch.arange(1, q + 1).expand(len(x), -1)
    expected = theirs(x, positions, None, use_cache=False)[0]
    check(LinearRnn(LinearRnnSpec(**SMALL, heads=3, d_state=18), LENGTH), weights, x, expected)
