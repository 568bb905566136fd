"""Transplants and ablations: heads of a trained seed with a donor's patterns, or without their output.

A pattern is put in between the softmax and the values, sequence by sequence; everything else of the recipient runs as
it is, so later layers see what follows. Of language models `saltus.lm.patching` asks the same.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from saltus.errors import SaltusError
from saltus.models.decoder import Decoder
from saltus.models.mixers.attention import Attention
from saltus.train.evaluate import EVALUATION_TOKENS, evaluate_seed
from saltus.train.folder import RunFolder
from saltus.train.head_effects import Ablation, Changed, Transplant
from saltus.train.material import Material
from saltus.train.trained import load_model

Heads = NDArray[np.bool_]
"""[layer, head] which are changed."""

_Change = Callable[[int, Tensor, Tensor], Tensor]
"""Layer, pattern [n, h, q, k], values [n, h, k, d] -> what the heads take [n, h, q, d]."""


@dataclass(frozen=True)
class Patient:
    """One seed at a checkpoint, with what its interventions make of its weights and the bias that they add, if any."""

    model: Decoder
    bias: Tensor | None


def load_patient(folder: RunFolder, step: int, seed: int, material: Material) -> Patient:
    """A seed at a checkpoint.

    Raises:
        SaltusError: if it has no attention, the step no checkpoint, or the run no such seed.

    """
    model = folder.spec().model
    if not model.attention_heads:
        raise SaltusError(f"model: {model.kind} has no attention pattern to put in or to leave out; take a transformer")
    steered = load_model(folder, step, seed)
    with torch.no_grad():
        for name, factor in (material.intervention.factors(step) or {}).items():
            steered.get_parameter(name).mul_(factor)
    return Patient(steered, material.intervention.logits(step))


def transplant_patterns(recipient: Patient, donor: Patient, placebo: Patient, material: Material) -> Transplant:
    """The donor's patterns in one head, one layer and all heads of the recipient, with the controls."""

    def measure(giver: Patient, heads: Heads, order: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        return _measure(_Transplanted(recipient, giver, heads, order), recipient.bias, material)

    layers, count = _shape_of(recipient.model)
    everything = np.ones((layers, count), np.bool_)
    changed = [Changed("head", *head, measure(donor, heads)) for head, heads in _each_head(layers, count)]
    if layers > 1:
        for layer in range(layers):
            only = everything & (np.arange(layers) == layer)[:, None]
            changed.append(Changed("layer", layer, None, measure(donor, only)))
    changed += [
        Changed("all", None, None, measure(donor, everything)),
        Changed("matched", None, None, measure(donor, everything, _match_heads(recipient, donor, material))),
        Changed("self", None, None, measure(recipient, everything)),
        Changed("placebo", None, None, measure(placebo, everything)),
    ]
    before, after = (_measure_whole(each, material) for each in (recipient, donor))
    return Transplant(material.facts.units, before, after, tuple(changed))


def ablate_heads(patient: Patient, material: Material) -> Ablation:
    """The loss with each head's output replaced by zero, and by its mean over the evaluation sequences."""
    means = _measure_means(patient, material)
    changed: list[Changed] = []
    for head, heads in _each_head(*_shape_of(patient.model)):
        for kind, instead in (("zero", [torch.zeros_like(mean) for mean in means]), ("mean", means)):

            def change(
                layer: int, pattern: Tensor, value: Tensor, heads: Heads = heads, instead: list[Tensor] = instead
            ) -> Tensor:
                return torch.where(_mark(heads[layer]), instead[layer], pattern @ value)

            loss = _measure(_change_heads(patient.model, change), patient.bias, material)
            changed.append(Changed(kind, *head, loss))
    return Ablation(material.facts.units, _measure_whole(patient, material), tuple(changed))


class _ChangedAttention(nn.Module):
    """Attention, a mixer, in which `change` says what the heads take."""

    def __init__(self, attention: Attention, layer: int, change: _Change) -> None:
        super().__init__()
        self.attention, self.layer, self.change = attention, layer, change

    def project(self, x: Tensor) -> Tensor:
        """As `Mixer.project`."""
        return self.attention.project(x)

    def mix(self, projected: Tensor, bias: Tensor | None, *, keep: bool) -> tuple[Tensor, Tensor | None]:
        """As `Mixer.mix`; the pattern is the one that was there."""
        _, pattern = self.attention.mix(projected, bias, keep=True)
        assert pattern is not None
        taken = self.change(self.layer, pattern, self.attention.split(projected)[2])
        return self.attention.merge(taken), pattern if keep else None


class _Transplanted(nn.Module):
    """A recipient that runs with the donor's patterns on the same tokens."""

    def __init__(self, recipient: Patient, donor: Patient, heads: Heads, order: NDArray[np.int64] | None) -> None:
        """`order` [layer, head] says which head of the donor is put in each; the same place if None."""
        super().__init__()
        self._donor, self._heads, self._order = donor, heads, order
        self._recipient = _change_heads(recipient.model, self._replace)
        self._given: tuple[Tensor, ...] = ()

    def forward(self, tokens: Tensor, bias: Tensor | None) -> Tensor:
        """Logits, as those of `Decoder`."""
        _, self._given = self._donor.model.forward_with_patterns(tokens, self._donor.bias)
        return self._recipient(tokens, bias)

    def _replace(self, layer: int, pattern: Tensor, value: Tensor) -> Tensor:
        given = self._given[layer]
        if self._order is not None:
            given = given[:, self._order[layer].tolist()]
        return torch.where(_mark(self._heads[layer]), given, pattern) @ value


def _change_heads(model: Decoder, change: _Change) -> Decoder:
    """A copy of the model in which `change` says what heads take."""
    changed = deepcopy(model)
    for layer, block in enumerate(changed.blocks):
        assert isinstance(block.mixer, Attention)
        block.mixer = _ChangedAttention(block.mixer, layer, change)
    return changed


def _measure(model: nn.Module, bias: Tensor | None, material: Material) -> NDArray[np.float64]:
    """[unit] the loss on the evaluation sequences."""
    measured = evaluate_seed(model, {}, material.evaluation_tokens, material.task, bias, patterns=False)
    return material.facts.mean_by_unit(measured.loss)


def _measure_whole(patient: Patient, material: Material) -> NDArray[np.float64]:
    """[unit] the loss as it is, by the same arithmetic as with changed heads: long attention is fused otherwise."""
    model = _change_heads(patient.model, lambda _, pattern, value: pattern @ value)
    return _measure(model, patient.bias, material)


@torch.no_grad()
def _measure_means(patient: Patient, material: Material) -> list[Tensor]:
    """For each layer what its heads take, mean over the evaluation sequences, [h, q, d]."""
    sums: dict[int, Tensor] = {}

    def collect(layer: int, pattern: Tensor, value: Tensor) -> Tensor:
        taken = pattern @ value
        sums[layer] = sums.get(layer, torch.zeros(())) + taken.sum(0)
        return taken

    model, tokens = _change_heads(patient.model, collect), material.evaluation_tokens
    for part in tokens.split(max(1, EVALUATION_TOKENS // material.facts.length)):
        model(part[:, :-1].long(), patient.bias)
    return [sums[layer] / len(tokens) for layer in sorted(sums)]


def _match_heads(recipient: Patient, donor: Patient, material: Material) -> NDArray[np.int64]:
    """[layer, head of the recipient] the donor's head for it: of all pairings in a layer that with the least sum of
    absolute differences between mean patterns, over scored queries.
    """
    patterns = [
        evaluate_seed(each.model, {}, material.evaluation_tokens, material.task, each.bias, patterns=True).pattern
        for each in (recipient, donor)
    ]
    before, after = (pattern[:, :, material.facts.scored] for pattern in patterns)
    apart = np.abs(before[:, :, None] - after[:, None]).sum((-2, -1))  # [layer, head, head]
    return np.stack([linear_sum_assignment(costs)[1] for costs in apart])


def _shape_of(model: Decoder) -> tuple[int, int]:
    """Layers and heads."""
    first = model.blocks[0].mixer
    assert isinstance(first, Attention)
    return len(model.blocks), first.heads


def _each_head(layers: int, heads: int) -> Iterator[tuple[tuple[int, int], Heads]]:
    """Every head, and the mask that has it alone."""
    for layer, head in np.ndindex(layers, heads):
        only = np.zeros((layers, heads), np.bool_)
        only[layer, head] = True
        yield (layer, head), only


def _mark(heads: NDArray[np.bool_]) -> Tensor:
    """[h] -> [h, 1, 1]."""
    return torch.from_numpy(heads)[:, None, None]
