"""What a backbone can leave out, tie or drop, against a decoder written down anew from the description."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saltus.errors import SaltusError
from saltus.models.build import build_model, count_parameters, match_parameters
from saltus.models.decoder import Decoder
from saltus.seeding import Streams
from saltus.specs import LinearMapSpec, TransformerSpec
from saltus.tasks.linear_map import LinearMap

FACTS = LinearMap(LinearMapSpec(size=5, sparsity=2), Streams(0).generator("task")).facts
QUERIES, SYMBOLS, WIDTH, HEADS, LAYERS = 9, 2, 8, 2, 2

OPTIONS: list[dict[str, Any]] = [
    {},
    {"d_mlp": 0},
    {"positions": "none"},
    {"layer_norm": False},
    {"tied_embeddings": True},
    {"d_mlp": 0, "positions": "none", "layer_norm": False, "tied_embeddings": True},
]

every_option = pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")


def make_spec(**options: Any) -> TransformerSpec:
    values: dict[str, Any] = {"layers": LAYERS, "d_model": WIDTH, "heads": HEADS, "d_mlp": 12}
    return TransformerSpec(**(values | options))


def make_model(spec: TransformerSpec) -> Decoder:
    """With large random weights, so that nothing is hidden by a small scale."""
    model = build_model(spec, FACTS, init_seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return model.double()


def draw_tokens() -> Tensor:
    return torch.randint(0, SYMBOLS, (5, QUERIES), generator=torch.Generator().manual_seed(1))


class Plain:
    """The decoder as the description has it, from weights by name: no module, no fused or shared computation."""

    def __init__(self, spec: TransformerSpec, weights: dict[str, Tensor], dropped: Tensor | None = None) -> None:
        """`dropped` [n, b, q, m] is 1 where dropout leaves nothing."""
        self.spec, self.weights, self.dropped, self.branch = spec, weights, dropped, 0

    def __call__(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        x = self.weights["embedding.weight"][tokens]
        if self.spec.positions == "learned":
            x = x + self.weights["positions"][: tokens.shape[1]]
        for layer in range(self.spec.layers):
            place = f"blocks.{layer}."
            x = x + self.drop(self.attend(self.norm(x, place + "mixer_norm"), place + "mixer.", bias))
            if self.spec.d_mlp != 0:
                hidden = self.linear(self.norm(x, place + "mlp_norm"), place + "mlp_in")
                hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
                x = x + self.drop(self.linear(hidden, place + "mlp_out"))
        x = self.norm(x, "norm")
        matrix = self.weights["embedding.weight" if self.spec.tied_embeddings else "unembedding.weight"]
        return x @ matrix.T + self.weights["unembedding.bias"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        if not self.spec.layer_norm:
            return x
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def attend(self, x: Tensor, place: str, bias: Tensor | None) -> Tensor:
        query, key, value = self.linear(x, place + "query_key_value").chunk(3, dim=-1)
        size, heads = self.spec.head_dimension, []
        for head in range(self.spec.heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[..., own] @ key[..., own].mT / math.sqrt(size)
            if bias is not None:
                scores = scores + bias[head]
            future = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
            heads.append(scores.masked_fill(future, -math.inf).softmax(-1) @ value[..., own])
        return self.linear(torch.cat(heads, -1), place + "output")

    def drop(self, added: Tensor) -> Tensor:
        if self.dropped is None:
            return added
        self.branch += 1
        return (added / (1 - self.spec.dropout)).masked_fill(self.dropped[:, self.branch - 1], 0.0)


def compare(found: Tensor, expected: Tensor, model: Decoder, weights: dict[str, Tensor]) -> None:
    """Equal logits, and equal gradients of all weights."""
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    mine = torch.autograd.grad(found.square().sum(), list(model.parameters()))
    theirs = torch.autograd.grad(expected.square().sum(), list(weights.values()))
    for name, one, other in zip(weights, mine, theirs, strict=True):
        assert other.abs().max() > 1e-3 or name.endswith("query_key_value.bias"), name
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def copy_weights(model: Decoder) -> dict[str, Tensor]:
    return {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}


@every_option
def test_every_option_is_the_decoder_that_its_description_says(options: dict[str, Any]) -> None:
    spec = make_spec(**options)
    model = make_model(spec)
    weights = copy_weights(model)
    assert set(model.state_dict()) == set(weights)
    bias = torch.randn(HEADS, QUERIES, QUERIES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for added in (None, bias):
        compare(model(draw_tokens(), added), Plain(spec, weights)(draw_tokens(), added), model, weights)
    logits, patterns = model.forward_with_patterns(draw_tokens(), bias)
    torch.testing.assert_close(logits, model(draw_tokens(), bias))
    assert [pattern.shape for pattern in patterns] == [(5, HEADS, QUERIES, QUERIES)] * LAYERS


@pytest.mark.parametrize("d_mlp", [12, 0])
def test_dropout_leaves_out_what_the_mask_says_of_each_branch_and_nothing_without_one(d_mlp: int) -> None:
    spec = make_spec(dropout=0.3, d_mlp=d_mlp)
    model = make_model(spec)
    weights = copy_weights(model)
    shape = (5, spec.branches, QUERIES, WIDTH)
    kept = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.6
    compare(model(draw_tokens(), None, kept), Plain(spec, weights, ~kept)(draw_tokens()), model, weights)
    compare(model(draw_tokens()), Plain(spec, weights)(draw_tokens()), model, weights)


def test_parameters_are_counted_without_what_is_left_out() -> None:
    whole = count_parameters(make_spec(), FACTS)
    left_out = {
        "d_mlp": (0, LAYERS * (2 * WIDTH * 12 + 12 + WIDTH + 2 * WIDTH)),  # its norm goes with it
        "positions": ("none", QUERIES * WIDTH),
        "layer_norm": (False, (2 * LAYERS + 1) * 2 * WIDTH),
        "tied_embeddings": (True, SYMBOLS * WIDTH),
        "dropout": (0.5, 0),
    }
    for key, (value, fewer) in left_out.items():
        assert whole - count_parameters(make_spec(**{key: value}), FACTS) == fewer, key


def test_a_model_without_an_mlp_is_matched_to_and_cannot_be_matched() -> None:
    alone = make_spec(d_mlp=0, d_model=16)
    matched = match_parameters({"alone": alone, "other": make_spec()}, FACTS)
    assert matched["alone"] == alone
    goal, unit = count_parameters(alone, FACTS), LAYERS * (2 * WIDTH + 1)
    assert abs(count_parameters(matched["other"], FACTS) - goal) <= unit / 2
    with pytest.raises(SaltusError, match=r"alone has no MLP \(d_mlp is 0\) and 2,[0-9]+ parameters"):
        match_parameters({"other": make_spec(), "alone": alone}, FACTS)


def test_without_positions_the_order_of_the_past_does_not_matter() -> None:
    model, tokens = make_model(make_spec(positions="none", layers=1)), draw_tokens()
    shuffled = tokens.clone()
    shuffled[:, :-1] = tokens[:, torch.randperm(QUERIES - 1, generator=torch.Generator().manual_seed(4))]
    torch.testing.assert_close(model(shuffled)[:, -1], model(tokens)[:, -1])
    placed = make_model(make_spec(layers=1))
    assert (placed(shuffled)[:, -1] - placed(tokens)[:, -1]).abs().max() > 1e-2
