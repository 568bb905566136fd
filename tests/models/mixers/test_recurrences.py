"""The parallel forms against their recurrences, written out step by step in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from saltus.models.mixers.gated_delta_net import CHUNK, gated_delta_rule
from saltus.models.mixers.linear_attention import linear_attention
from saltus.models.mixers.linear_rnn import gated_recurrence
from saltus.models.mixers.mamba import selective_scan
from saltus.models.mixers.mlstm import mlstm_cell
from saltus.models.mixers.rwkv import wkv
from saltus.models.mixers.scan import linear_scan

assert CHUNK == 64
any_length = pytest.mark.parametrize("q", [1, 2, 3, 8, 37, 64, 65, 150])

N, HEADS, CHANNELS, STATES, KEY, VALUE = 2, 3, 5, 4, 6, 7


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def check(parallel: Tensor, steps: list[Tensor], dim: int) -> None:
    expected = torch.stack(steps, dim=dim)
    assert parallel.dtype == torch.float64
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(parallel, expected, rtol=1e-9, atol=1e-10)


@any_length
def test_linear_scan(q: int) -> None:
    decay, drive = draw(N, q, CHANNELS, seed=0).sigmoid(), draw(N, q, CHANNELS, seed=1)
    state, states = torch.zeros(N, CHANNELS, dtype=torch.float64), []
    for t in range(q):
        state = decay[:, t] * state + drive[:, t]
        states.append(state)
    check(linear_scan(decay, drive), states, 1)


@any_length
def test_mamba(q: int) -> None:
    value, step = draw(N, q, CHANNELS, seed=0), draw(N, q, CHANNELS, seed=1)
    log_rate, write, read = draw(CHANNELS, STATES, seed=2), draw(N, q, STATES, seed=3), draw(N, q, STATES, seed=4)
    state, outputs = torch.zeros(N, CHANNELS, STATES, dtype=torch.float64), []
    for t in range(q):
        delta = torch.log1p(step[:, t].exp())[:, :, None]
        state = torch.exp(-delta * log_rate.exp()) * state + delta * write[:, t, None] * value[:, t, :, None]
        outputs.append((state @ read[:, t, :, None])[..., 0])
    check(selective_scan(value, step, log_rate, write, read), outputs, 1)


@any_length
def test_gated_delta_rule(q: int) -> None:
    query, key = draw(N, HEADS, q, KEY, seed=0), draw(N, HEADS, q, KEY, seed=1)
    value, rate, step = draw(N, HEADS, q, VALUE, seed=2), draw(N, HEADS, q, seed=3), draw(N, HEADS, q, seed=4, scale=2)
    log_decay = draw(HEADS, seed=5)
    state, outputs = torch.zeros(N, HEADS, VALUE, KEY, dtype=torch.float64), []
    for t in range(q):
        k, v = key[:, :, t], value[:, :, t, :, None]
        k = (k / (k.square().sum(-1, keepdim=True) + 1e-6).sqrt())[..., None]
        q_t = query[:, :, t]
        q_t = (q_t / (q_t.square().sum(-1, keepdim=True) + 1e-6).sqrt())[..., None] / math.sqrt(KEY)
        beta = (1 / (1 + torch.exp(-rate[:, :, t])))[..., None, None]
        alpha = torch.exp(-log_decay.exp() * torch.log1p(step[:, :, t].exp()))[..., None, None]
        erase = torch.eye(KEY, dtype=torch.float64) - beta * k @ k.transpose(-1, -2)
        state = alpha * state @ erase + beta * v @ k.transpose(-1, -2)
        outputs.append((state @ q_t)[..., 0])
    future = torch.full((CHUNK, CHUNK), -torch.inf).triu(1)
    check(gated_delta_rule(query, key, value, rate, step, log_decay, future), outputs, 2)


def step_wkv(key: Tensor, value: Tensor, log_decay: Tensor, bonus: Tensor) -> list[Tensor]:
    """Without any care for the size of the exponentials, which float64 bears to 700."""
    numerator = denominator = torch.zeros(N, CHANNELS, dtype=torch.float64)
    outputs: list[Tensor] = []
    for t in range(key.shape[1]):
        now, weight = torch.exp(bonus + key[:, t]), torch.exp(key[:, t])
        outputs.append((numerator + now * value[:, t]) / (denominator + now))
        numerator = torch.exp(-log_decay.exp()) * numerator + weight * value[:, t]
        denominator = torch.exp(-log_decay.exp()) * denominator + weight
    return outputs


@any_length
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_rwkv(q: int, scale: float) -> None:
    key, value = draw(N, q, CHANNELS, seed=0, scale=scale), draw(N, q, CHANNELS, seed=1)
    log_decay, bonus = torch.linspace(-5, 3, CHANNELS, dtype=torch.float64), draw(CHANNELS, seed=2)
    expected = step_wkv(key, value, log_decay, bonus)
    check(wkv(key, value, log_decay, bonus), expected, 1)
    single = wkv(key.float(), value.float(), log_decay.float(), bonus.float())
    torch.testing.assert_close(single.double(), torch.stack(expected, 1), rtol=1e-3, atol=1e-4)


@any_length
@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_mlstm(q: int, scale: float) -> None:
    query, key = draw(N, HEADS, q, KEY, seed=0), draw(N, HEADS, q, KEY, seed=1)
    value = draw(N, HEADS, q, VALUE, seed=2)
    input_gate, forget_gate = draw(N, HEADS, q, seed=3, scale=scale), draw(N, HEADS, q, seed=4, scale=scale) + 2
    memory = torch.zeros(N, HEADS, VALUE, KEY, dtype=torch.float64)
    norm, outputs = torch.zeros(N, HEADS, KEY, 1, dtype=torch.float64), []
    largest = torch.zeros(N, HEADS, 1, 1, dtype=torch.float64)
    for t in range(q):
        k, v = key[:, :, t, :, None] / math.sqrt(KEY), value[:, :, t, :, None]
        i, f = (15 * torch.tanh(gate[:, :, t, None, None] / 15) for gate in (input_gate, forget_gate))
        i, f = torch.exp(i), 1 / (1 + torch.exp(-f))
        memory = f * memory + i * v @ k.transpose(-1, -2)
        norm = f * norm + i * k
        largest = torch.maximum(f * largest, i)
        size = (norm.transpose(-1, -2) @ query[:, :, t, :, None]).abs().clamp_min(1.0) + 1e-6 * largest
        outputs.append((memory @ query[:, :, t, :, None] / size)[..., 0])
    future = torch.full((q, q), -torch.inf).triu(1)
    check(mlstm_cell(query, key, value, input_gate, forget_gate, future), outputs, 2)


@any_length
def test_linear_rnn(q: int) -> None:
    value, input_gate, recurrence_gate = (draw(N, q, CHANNELS, seed=seed) for seed in range(3))
    decay = draw(CHANNELS, seed=3) - 3
    state, states = torch.zeros(N, CHANNELS, dtype=torch.float64), []
    for t in range(q):
        i, r = (1 / (1 + torch.exp(-gate[:, t])) for gate in (input_gate, recurrence_gate))
        a = torch.sigmoid(-decay) ** (8 * r)  # the paper's a = sigmoid(Lambda), to the power c r
        state = a * state + torch.sqrt(1 - a**2) * i * value[:, t]
        states.append(state)
    check(gated_recurrence(value, input_gate, recurrence_gate, decay), states, 1)


@any_length
def test_linear_attention(q: int) -> None:
    query, key = draw(N, HEADS, q, KEY, seed=0), draw(N, HEADS, q, KEY, seed=1)
    value = draw(N, HEADS, q, KEY, seed=2)
    memory = torch.zeros(N, HEADS, KEY, KEY, dtype=torch.float64)
    norm, outputs = torch.zeros(N, HEADS, KEY, dtype=torch.float64), []
    for t in range(q):
        query_map, key_map = (F.elu(x[:, :, t]) + 1 for x in (query, key))
        memory = memory + key_map[..., :, None] * value[:, :, t, None, :]
        norm = norm + key_map
        size = (query_map * norm).sum(-1) + 1e-6
        outputs.append((query_map[..., None, :] @ memory)[..., 0, :] / size[..., None])
    check(linear_attention(query, key, value), outputs, 2)
