"""What holds for every token mixer: causal, a plain function of its parameters, finite, and fit for each program."""

from collections.abc import Callable

import pytest
import torch
from tests.models.mixers.cases import CASES, WIDTH, draw, make_mixer
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from saltus.models.custom import ROUNDING, measure_leaks

LENGTH = 70
"""Longer than a chunk, and not a multiple of one."""

Weights = dict[str, Tensor]

every_mixer = pytest.mark.parametrize("kind", CASES)


def make_gradient(mixer: nn.Module) -> Callable[[Weights, Tensor], tuple[Weights, Tensor]]:
    """The gradient and the value of a loss, as the training loop makes them."""

    def measure_loss(weights: Weights, x: Tensor) -> Tensor:
        return functional_call(mixer, weights, (x,)).square().mean()

    return grad_and_value(measure_loss)


def read_weights(mixer: nn.Module) -> Weights:
    return {name: weight.detach() for name, weight in mixer.named_parameters()}


def stack(mixers: list[nn.Module]) -> Weights:
    named = [read_weights(mixer) for mixer in mixers]
    return {name: torch.stack([weights[name] for weights in named]) for name in named[0]}


@every_mixer
def test_a_later_token_changes_nothing_before_it(kind: str) -> None:
    mixer, x = make_mixer(kind, LENGTH), draw(2, LENGTH)
    with torch.no_grad():
        before = mixer(x)
        for position in (0, 1, 2, 31, 63, 64, LENGTH - 1):
            changed_x = x.clone()
            changed_x[:, position] += 1.0
            after = mixer(changed_x)
            changed = (after != before).any(-1).all(0)
            assert torch.equal(after[:, :position], before[:, :position])
            assert changed[position : position + 2].all()  # itself, and the next one if there is one


@every_mixer
def test_no_leak_is_measured(kind: str) -> None:
    leaks = measure_leaks(make_mixer(kind, LENGTH), LENGTH, WIDTH, torch.Generator().manual_seed(0))
    assert max(leaks.later, leaks.others) <= ROUNDING


@every_mixer
def test_a_token_depends_on_each_before_it_and_on_none_after(kind: str) -> None:
    mixer, x = make_mixer(kind, LENGTH).double(), draw(1, LENGTH).double().requires_grad_()
    window = 3 if kind == "convolution" else LENGTH
    for query in (0, 40, LENGTH - 1):
        (gradient,) = torch.autograd.grad(mixer(x)[0, query].sum(), x)
        seen = gradient[0].abs().amax(-1) > 0
        expected = torch.zeros(LENGTH, dtype=torch.bool)
        expected[max(0, query - window + 1) : query + 1] = True
        assert torch.equal(seen, expected)


@every_mixer
def test_a_shorter_sequence_is_the_beginning_of_a_longer_one(kind: str) -> None:
    mixer, x = make_mixer(kind, LENGTH), draw(2, LENGTH)
    with torch.no_grad():
        whole = mixer(x)
        for length in (1, 2, 7, 64):
            torch.testing.assert_close(mixer(x[:, :length]), whole[:, :length], rtol=1e-4, atol=1e-5)


@every_mixer
def test_stacked_seeds_are_as_one_at_a_time(kind: str) -> None:
    mixers, x = [make_mixer(kind, 9, seed) for seed in range(3)], torch.stack([draw(2, 9, seed) for seed in range(3)])
    gradient = make_gradient(mixers[0])
    stacked_gradients, stacked_losses = vmap(gradient)(stack(mixers), x)
    for seed, mixer in enumerate(mixers):
        gradients, loss = gradient(read_weights(mixer), x[seed])
        torch.testing.assert_close(stacked_losses[seed], loss)
        for name, alone in gradients.items():
            torch.testing.assert_close(stacked_gradients[name][seed], alone, rtol=1e-4, atol=1e-6)
            assert alone.abs().max() > 0, name


@every_mixer
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_gradients_are_finite(kind: str, scale: float) -> None:
    mixer, x = make_mixer(kind, 256), (scale * draw(2, 256)).requires_grad_()
    y = mixer(x)
    assert y.isfinite().all()
    gradients = torch.autograd.grad(y.square().mean(), [x, *mixer.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)


@every_mixer
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    mixer, x = make_mixer(kind, 5).double(), draw(1, 5).double()
    weights = read_weights(mixer)
    generator = torch.Generator().manual_seed(2)
    way = {name: torch.randn(w.shape, generator=generator, dtype=torch.float64) for name, w in weights.items()}
    gradient = make_gradient(mixer)
    slope = sum((gradient(weights, x)[0][name] * way[name]).sum() for name in way)
    step = 1e-5
    above, below = ({name: w + sign * step * way[name] for name, w in weights.items()} for sign in (1, -1))
    measured = (gradient(above, x)[1] - gradient(below, x)[1]) / (2 * step)
    # The mLSTM's leaves out what the 1e-6 in its norm adds to it.
    torch.testing.assert_close(slope, measured, rtol=1e-5, atol=1e-9)


@every_mixer
def test_compiled_it_is_the_same(kind: str) -> None:
    """Captured as one graph without breaks; the code that is generated from it, which takes minutes, is PyTorch's."""
    torch.compiler.reset()  # so many programs of one function are refused
    mixer, x = make_mixer(kind, 3), draw(2, 3)
    gradient, weights = make_gradient(mixer), read_weights(mixer)
    fused, fused_loss = torch.compile(gradient, fullgraph=True, dynamic=False, backend="aot_eager")(weights, x)
    plain, loss = gradient(weights, x)
    torch.testing.assert_close(fused_loss, loss)
    for name in weights:
        torch.testing.assert_close(fused[name], plain[name], rtol=1e-4, atol=1e-6, msg=name)


@every_mixer
def test_under_autocast_it_is_close_to_float32(kind: str) -> None:
    mixer, x = make_mixer(kind, LENGTH), draw(4, LENGTH)
    gradient, weights = make_gradient(mixer), read_weights(mixer)
    exact, exact_gradients = mixer(x), gradient(weights, x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        reduced = mixer(x)
        gradients = gradient(weights, x)[0]
    assert (reduced != exact).any()  # the matrix products are reduced
    assert (reduced - exact).norm() < 0.02 * exact.norm()
    flat, exact_flat = (torch.cat([g.flatten() for g in parts.values()]) for parts in (gradients, exact_gradients))
    assert flat.dtype == torch.float32
    assert (flat - exact_flat).norm() < 0.05 * exact_flat.norm()


@every_mixer
def test_the_seed_alone_decides_the_weights(kind: str) -> None:
    first, again, other = (make_initial(kind, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def make_initial(kind: str, seed: int) -> Weights:
    torch.manual_seed(seed)
    return read_weights(CASES[kind](5))
