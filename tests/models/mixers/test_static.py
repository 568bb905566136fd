"""The mixers that no other library has, against plain sums over the tokens."""

import torch
import torch.nn.functional as F
from tests.models.mixers.cases import WIDTH, draw, make_mixer
from torch import Tensor, nn

LENGTH = 7


def apply_linear(mixer: nn.Module, name: str, x: Tensor) -> Tensor:
    return x @ mixer.get_parameter(f"{name}.weight").T + mixer.get_parameter(f"{name}.bias")


def mix(mixer: nn.Module, name: str, x: Tensor, head: int = 0) -> Tensor:
    """[n, k, d] -> [n, q, d], a position after the other."""
    weight, bias = mixer.get_parameter(f"{name}.weight")[head], mixer.get_parameter(f"{name}.bias")[head]
    rows = [sum(weight[q, k] * x[:, k] for k in range(q + 1)) + bias[q] for q in range(x.shape[1])]
    return torch.stack(rows, dim=1)


def test_mlp_mixer_single() -> None:
    mixer, x = make_mixer("mlp_mixer", LENGTH), draw(2, LENGTH)
    torch.testing.assert_close(mixer(x), mix(mixer, "mixing", x))


def test_mlp_mixer_hidden() -> None:
    mixer, x = make_mixer("mlp_mixer_hidden", LENGTH), draw(2, LENGTH)
    torch.testing.assert_close(mixer(x), mix(mixer, "second_mixing", F.gelu(mix(mixer, "mixing", x))))


def test_mlp_mixer_heads() -> None:
    mixer, x = make_mixer("mlp_mixer_heads", LENGTH), draw(2, LENGTH)
    heads = apply_linear(mixer, "value", x).split(WIDTH // 2, dim=-1)
    mixed = torch.cat([mix(mixer, "mixing", value, head) for head, value in enumerate(heads)], dim=-1)
    torch.testing.assert_close(mixer(x), apply_linear(mixer, "output", mixed))


def test_convolution() -> None:
    mixer, x = make_mixer("convolution", LENGTH), draw(2, LENGTH)
    value = F.pad(apply_linear(mixer, "value", x).transpose(1, 2), (2, 0))
    mixed = F.conv1d(value, mixer.get_parameter("mixing.weight")[:, None], groups=WIDTH).transpose(1, 2)
    torch.testing.assert_close(mixer(x), apply_linear(mixer, "output", mixed))


def test_linear_attention() -> None:
    mixer, x = make_mixer("linear_attention", LENGTH), draw(2, LENGTH)
    query, key, value = apply_linear(mixer, "query_key_value", x).split(WIDTH, dim=-1)
    heads: list[Tensor] = []
    for head in range(2):
        here = slice(4 * head, 4 * head + 4)
        rows: list[Tensor] = []
        for q in range(LENGTH):
            weights = ((F.elu(query[:, q, None, here]) + 1) * (F.elu(key[:, : q + 1, here]) + 1)).sum(-1, keepdim=True)
            rows.append((weights * value[:, : q + 1, here]).sum(1) / weights.sum(1))
        heads.append(torch.stack(rows, dim=1))
    torch.testing.assert_close(mixer(x), apply_linear(mixer, "output", torch.cat(heads, dim=-1)))
