"""The decoder with attention: causal, equal to PyTorch's own layers, and open to a bias on its attention."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from saltus.models import decoder
from saltus.models.build import build_model
from saltus.models.decoder import Decoder
from saltus.models.mixers import attention
from saltus.models.mixers.attention import Attention
from saltus.specs import LinearMapSpec, TransformerSpec
from saltus.tasks.linear_map import LinearMap

LENGTH, SYMBOLS = 12, 3


def make_model(seed: int = 0, **spec: Any) -> Decoder:
    """A two-layer model with large random weights, so that nothing is hidden by a small scale."""
    torch.manual_seed(seed)
    values: dict[str, Any] = {"layers": 2, "d_model": 16, "heads": 4, **spec}
    described = TransformerSpec(**values)
    model = Decoder(
        described,
        lambda: Attention(described, LENGTH),
        symbols=SYMBOLS,
        length=LENGTH,
        learned_positions=described.positions == "learned",
    )
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.double()


def draw_tokens(count: int = 5) -> Tensor:
    return torch.randint(0, SYMBOLS, (count, LENGTH), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spec", [{}, {"positions": "rotary"}, {"d_head": 6, "heads": 3}])
def test_flipping_a_future_token_changes_no_earlier_prediction(spec: dict[str, Any]) -> None:
    model, tokens = make_model(**spec), draw_tokens()
    logits, patterns = model.forward_with_patterns(tokens)
    for position in range(LENGTH):
        flipped = tokens.clone()
        flipped[:, position] = (flipped[:, position] + 1) % SYMBOLS
        changed = (model(flipped) != logits).any(-1).any(0)
        assert not changed[:position].any()
        assert changed[position:].all()  # and the past does matter
    for pattern in patterns:
        assert torch.equal(pattern, pattern.tril())
        torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern.sum(-1)))


def test_logits_equal_those_of_pytorchs_encoder_layers() -> None:
    model, tokens = make_model(), draw_tokens()
    x = model.embedding(tokens) + model.positions
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(
            16, 4, dim_feedforward=64, dropout=0.0, activation="gelu", norm_first=True, batch_first=True
        ).double()
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": block.get_parameter("mixer.query_key_value.weight"),
                "self_attn.in_proj_bias": block.get_parameter("mixer.query_key_value.bias"),
                "self_attn.out_proj.weight": block.get_parameter("mixer.output.weight"),
                "self_attn.out_proj.bias": block.get_parameter("mixer.output.bias"),
                "linear1.weight": block.get_parameter("mlp_in.weight"),
                "linear1.bias": block.get_parameter("mlp_in.bias"),
                "linear2.weight": block.get_parameter("mlp_out.weight"),
                "linear2.bias": block.get_parameter("mlp_out.bias"),
                "norm1.weight": block.get_parameter("mixer_norm.weight"),
                "norm1.bias": block.get_parameter("mixer_norm.bias"),
                "norm2.weight": block.get_parameter("mlp_norm.weight"),
                "norm2.bias": block.get_parameter("mlp_norm.bias"),
            }
        )
        x = layer(x, src_mask=mask, is_causal=True)
    expected = model.unembedding(model.norm(x))
    torch.testing.assert_close(model(tokens).double(), expected, rtol=1e-4, atol=1e-4)


def test_rotary_attention_sees_distances_alone() -> None:
    model = make_model(positions="rotary", layers=1)
    token = torch.zeros(1, LENGTH, dtype=torch.long)
    _, (pattern,) = model.forward_with_patterns(token)
    # All tokens are equal, so a logit is a function of the distance between query and key alone.
    logits = pattern[0].clamp_min(1e-300).log()  # up to a constant for each query
    for distance in range(1, 4):
        differences = torch.stack([logits[:, q, q - distance] - logits[:, q, q] for q in range(4, LENGTH)])
        torch.testing.assert_close(differences, differences[:1].expand_as(differences), rtol=1e-4, atol=1e-4)
        assert (differences.abs() > 1e-3).any()


def test_a_bias_steers_attention_and_no_bias_is_a_bias_of_zero() -> None:
    model, tokens = make_model(), draw_tokens()
    zeros = torch.zeros(2, 4, LENGTH, LENGTH, dtype=torch.float64)
    torch.testing.assert_close(model(tokens, zeros), model(tokens))
    steered = zeros.clone()
    steered[1, 2, :, 0] = 1e4  # layer 1, head 2: every query to key 0
    _, patterns = model.forward_with_patterns(tokens, steered)
    _, before = model.forward_with_patterns(tokens)
    torch.testing.assert_close(patterns[1][:, 2, :, 0], torch.ones_like(patterns[1][:, 2, :, 0]))
    torch.testing.assert_close(patterns[0], before[0])
    torch.testing.assert_close(patterns[1][:, [0, 1, 3]], before[1][:, [0, 1, 3]])


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_projecting_each_symbol_once_or_each_token_gives_the_same_logits_and_gradients(
    positions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokens = make_model(positions=positions), draw_tokens()
    found: list[list[Tensor]] = []
    for few in (SYMBOLS, SYMBOLS - 1):
        monkeypatch.setattr(decoder, "FEW_SYMBOLS", few)
        logits = model(tokens)
        found.append([logits, *torch.autograd.grad(logits.square().sum(), list(model.parameters()))])
    for once, each in zip(*found, strict=True):
        torch.testing.assert_close(once, each)
        assert once.abs().sum() > 0


@pytest.mark.parametrize("biased", [False, True])
def test_attention_that_keeps_no_pattern_is_the_same(biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = make_model(), draw_tokens()
    bias = torch.randn(2, 4, LENGTH, LENGTH, dtype=torch.float64) if biased else None
    written, patterns = model.forward_with_patterns(tokens, bias)
    assert len(patterns) == 2
    expected = torch.autograd.grad(written.square().sum(), list(model.parameters()))
    monkeypatch.setattr(attention, "LONG", LENGTH)
    fused = model(tokens, bias)
    torch.testing.assert_close(fused, written, rtol=1e-4, atol=1e-4)
    for one, other in zip(torch.autograd.grad(fused.square().sum(), list(model.parameters())), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


class Calls(TorchDispatchMode):
    """Keeps the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("length", [attention.LONG, attention.LONG_BFLOAT16])
def test_attention_on_a_cpu_is_fused_later_in_bfloat16(length: int, biased: bool) -> None:
    spec = TransformerSpec(layers=1, d_model=8, heads=2)
    facts = LinearMap(LinearMapSpec(size=length // 2, sparsity=3, states=3), np.random.default_rng(0)).facts
    model, tokens = build_model(spec, facts, init_seed=0), torch.zeros(1, length, dtype=torch.long)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    bias = torch.ones(1, 2, length, length) if biased else None

    def measure(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(model, weights, (tokens, bias)).float().square().sum()

    def is_fused() -> bool:
        with Calls() as calls:
            grad(measure)(weights)
        return any("flash_attention" in name for name in calls.names)

    assert is_fused()
    with torch.autocast("cpu", torch.bfloat16):
        assert is_fused() == (length >= attention.LONG_BFLOAT16)


class LargestTensor(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(returned) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *(tensor.numel() for tensor in tensors)])
        return returned


@pytest.mark.parametrize("biased", [False, True])
def test_in_bfloat16_on_a_cpu_blocks_of_queries_attend_apart(biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of three blocks is shorter; no tensor is as large as the patterns of all heads."""
    length = 2 * attention.BLOCK + 40
    spec = TransformerSpec(layers=2, d_model=16, heads=4)
    facts = LinearMap(LinearMapSpec(size=length // 2, sparsity=3, states=3), np.random.default_rng(0)).facts
    model, generator = build_model(spec, facts, init_seed=0), torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 2, (3, length), generator=generator)
    bias = torch.randn(2, 4, length, length, generator=generator) if biased else None
    weights = {name: 3.0 * weight.detach() for name, weight in model.named_parameters()}

    def measure(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(model, weights, (tokens, bias)).float().square().mean()

    found: list[tuple[Tensor, Tensor]] = []
    with torch.autocast("cpu", torch.bfloat16):
        for block in (attention.BLOCK, length):
            monkeypatch.setattr(attention, "BLOCK", block)
            with LargestTensor() as largest:
                gradient, value = grad_and_value(measure)(weights)
            found.append((torch.cat([each.flatten() for each in gradient.values()]), value))
            assert (largest.elements >= 3 * 4 * length**2) == (block == length)
    (gradient, value), (expected, whole) = found
    torch.testing.assert_close(value, whole, rtol=0.01, atol=0.0)
    assert (gradient - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize(("long", "whole"), [(4096, True), (1024, False)])
def test_a_long_context_never_holds_the_patterns_of_all_heads(
    long: int, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,047 queries, 8 heads: the patterns of a layer are 33.5 million numbers; counted, since memory is not exact."""
    monkeypatch.setattr(attention, "LONG", long)
    facts = LinearMap(LinearMapSpec(size=512, sparsity=3, states=4), np.random.default_rng(0)).facts
    model = build_model(TransformerSpec(layers=1, d_model=16, heads=8), facts, init_seed=0)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    tokens = torch.zeros(1, facts.queries, dtype=torch.long)

    def measure(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(model, weights, (tokens,)).square().sum()

    with LargestTensor() as largest:
        grad(measure)(weights)
    patterns = 8 * facts.queries**2
    assert (largest.elements >= patterns) == whole
    assert whole or largest.elements < patterns / 2
