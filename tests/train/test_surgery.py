"""Transplants and ablations: against the same arithmetic on weights, and with controls that come out exactly."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from saltus import api
from saltus.errors import SaltusError
from saltus.models.build import build_model
from saltus.models.decoder import Decoder
from saltus.models.mixers.attention import Attention
from saltus.specs import LinearMapSpec, MambaSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.train.evaluate import evaluate_seed
from saltus.train.folder import RunFolder
from saltus.train.head_effects import Changed, Transplant
from saltus.train.material import Material
from saltus.train.surgery import Patient, ablate_heads, transplant_patterns

SPEC = RunSpec(
    task=LinearMapSpec(size=4, sparsity=2),
    model=TransformerSpec(layers=2, d_model=12, heads=3, d_mlp=16),
    training=TrainingSpec(steps=10, batch_sequences=8, compile=False, evaluation_sequences=300),
    seeds=2,
)
MATERIAL = Material(SPEC, 0, torch.device("cpu"))
HEADS, WIDTH = 3, 4


def make(seed: int, *, layers: int = 2) -> Patient:
    """A model that was not trained; its weights are large, so that its heads differ."""
    model = build_model(SPEC.model.model_copy(update={"layers": layers}), MATERIAL.facts, init_seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3.0
    return Patient(model, None)


def attention(model: Decoder, layer: int = 0) -> Attention:
    mixer = model.blocks[layer].mixer
    assert isinstance(mixer, Attention)
    return mixer


def measure(model: Decoder) -> np.ndarray:
    tokens = MATERIAL.evaluation_tokens
    return MATERIAL.facts.mean_by_unit(evaluate_seed(model, {}, tokens, MATERIAL.task, None, patterns=False).loss)


def swap_query_and_key(recipient: Decoder, donor: Decoder, heads: list[int]) -> Decoder:
    """With one layer and the donor's embeddings in both, the donor's queries and keys make the donor's patterns."""
    changed = deepcopy(recipient)
    rows = torch.arange(HEADS * WIDTH).view(HEADS, WIDTH)[heads].flatten()
    rows = torch.cat([rows, rows + HEADS * WIDTH])
    with torch.no_grad():
        for name in ("weight", "bias"):
            ours, theirs = (getattr(attention(m).query_key_value, name) for m in (changed, donor))
            ours[rows] = theirs[rows]
    return changed


@pytest.mark.parametrize(("kind", "heads"), [("head", [1]), ("all", [0, 1, 2])])
def test_a_pattern_is_what_queries_and_keys_make(kind: str, heads: list[int]) -> None:
    recipient, donor = make(0, layers=1), make(1, layers=1)
    with torch.no_grad():  # one model that differs in nothing but what follows the pattern
        donor.model.embedding.weight.copy_(recipient.model.embedding.weight)
        assert donor.model.positions is not None
        assert recipient.model.positions is not None
        donor.model.positions.copy_(recipient.model.positions)
        donor.model.blocks[0].mixer_norm.load_state_dict(recipient.model.blocks[0].mixer_norm.state_dict())
    measured = transplant_patterns(recipient, donor, donor, MATERIAL)
    (found,) = (e for e in measured.changed if e.kind == kind and e.head in (None, heads[0]))
    expected = measure(swap_query_and_key(recipient.model, donor.model, heads))
    assert_allclose(found.loss, expected, rtol=1e-6)
    assert np.abs(expected - measured.recipient).max() > 1e-2


def predict(model: Decoder, tokens: Tensor, given: dict[tuple[int, int], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The model written out: log probabilities, and patterns, of which some are `given` by layer and head."""
    assert model.positions is not None
    x, patterns = model.embedding(tokens) + model.positions, []
    for layer, block in enumerate(model.blocks):
        mixer = attention(model, layer)
        parts = mixer.query_key_value(block.mixer_norm(x)).unflatten(-1, (3, HEADS, WIDTH))
        scores = torch.einsum("nqhd,nkhd->nhqk", parts[:, :, 0], parts[:, :, 1]) / 2.0  # the root of WIDTH
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        pattern = scores.masked_fill(later, -torch.inf).softmax(-1)
        for head in range(HEADS):
            pattern[:, head] = given.get((layer, head), pattern[:, head])
        patterns.append(pattern)
        x = x + mixer.output(torch.einsum("nhqk,nkhd->nqhd", pattern, parts[:, :, 2]).flatten(2))
        x = x + block.mlp_out(torch.nn.functional.gelu(block.mlp_in(block.mlp_norm(x))))
    return model.unembedding(model.norm(x)).log_softmax(-1), patterns


@torch.no_grad()
def test_layers_and_heads_against_the_model_written_out() -> None:
    recipient, donor = make(0), make(1)
    measured = transplant_patterns(recipient, donor, recipient, MATERIAL)
    tokens = MATERIAL.evaluation_tokens.long()
    _, patterns = predict(donor.model, tokens[:, :-1], {})
    assert len(measured.changed) == 2 * HEADS + 2 + 4
    for each in (each for each in measured.changed if each.kind in ("head", "layer", "all")):
        given = {
            (layer, head): patterns[layer][:, head]
            for layer in range(2)
            for head in range(HEADS)
            if each.layer in (None, layer) and each.head in (None, head)
        }
        chances, _ = predict(recipient.model, tokens[:, :-1], given)
        loss = -chances.gather(-1, tokens[:, 1:, None]).squeeze(-1).double().mean(0).numpy()
        assert_allclose(each.loss, MATERIAL.facts.mean_by_unit(loss), rtol=1e-5)


def test_own_patterns_change_nothing_and_units_keep_their_own_losses() -> None:
    recipient, donor = make(0), make(1)
    measured = transplant_patterns(recipient, donor, recipient, MATERIAL)
    for kind in ("self", "placebo"):
        assert_array_equal(measured.of(kind).loss, measured.recipient)
    assert_array_equal(measured.recipient, measure(recipient.model))
    assert_array_equal(measured.donor, measure(donor.model))


def test_heads_are_matched_by_their_patterns() -> None:
    recipient, donor = make(0, layers=1), make(0, layers=1)
    order = [2, 0, 1]
    rows = torch.arange(HEADS * WIDTH).view(HEADS, WIDTH)[order].flatten()
    with torch.no_grad():
        mixer = attention(donor.model)
        every = torch.cat([rows + part * HEADS * WIDTH for part in range(3)])
        mixer.query_key_value.weight.copy_(mixer.query_key_value.weight[every])
        mixer.query_key_value.bias.copy_(mixer.query_key_value.bias[every])
        mixer.output.weight.copy_(mixer.output.weight[:, rows])
    measured = transplant_patterns(recipient, donor, recipient, MATERIAL)
    assert_allclose(measured.donor, measured.recipient, rtol=1e-5)  # the same function
    assert_allclose(measured.of("matched").loss, measured.recipient, rtol=1e-5)
    assert np.abs(measured.of("all").loss - measured.recipient).max() > 1e-2


def cut(model: Decoder, layer: int, head: int, taken: Tensor | None = None) -> Decoder:
    """Without what a head writes, by its columns of the output matrix; `taken`, the same at every query, comes back."""
    changed = deepcopy(model)
    columns = slice(head * WIDTH, (head + 1) * WIDTH)
    with torch.no_grad():
        output = attention(changed, layer).output
        if taken is not None:
            output.bias.add_(output.weight[:, columns] @ taken)
        output.weight[:, columns] = 0.0
    return changed


def test_a_head_without_output_is_one_that_writes_nothing() -> None:
    patient = make(0)
    measured = ablate_heads(patient, MATERIAL)
    assert_array_equal(measured.whole, measure(patient.model))
    zero = [each for each in measured.changed if each.kind == "zero"]
    assert [(each.layer, each.head) for each in zero] == [(layer, head) for layer in range(2) for head in range(HEADS)]
    for each in zero:
        assert each.layer is not None
        assert each.head is not None
        assert_allclose(each.loss, measure(cut(patient.model, each.layer, each.head)), rtol=1e-5)
    assert measured.find_worst("zero", 1).loss[1] == max(each.loss[1] for each in zero)


def test_a_head_that_takes_the_same_everywhere_is_its_mean() -> None:
    patient = make(0)
    mixer = attention(patient.model)
    values = slice(2 * HEADS * WIDTH + WIDTH, 2 * HEADS * WIDTH + 2 * WIDTH)  # of head 1
    with torch.no_grad():
        mixer.query_key_value.weight[values] = 0.0
        mixer.query_key_value.bias[values] = torch.linspace(-1, 1, WIDTH)
    measured = ablate_heads(patient, MATERIAL)
    losses = {(each.kind, each.layer, each.head): each.loss for each in measured.changed}
    assert_allclose(losses["mean", 0, 1], measured.whole, rtol=1e-5)
    assert np.abs(losses["zero", 0, 1] - measured.whole).max() > 1e-3
    assert np.abs(losses["mean", 0, 0] - measured.whole).max() > 1e-3
    # the mean is over all sequences: what the head takes differs by query, and not by sequence
    plain = cut(patient.model, 0, 1, torch.linspace(-1, 1, WIDTH))
    assert_allclose(losses["mean", 0, 1], measure(plain), rtol=1e-5)


def test_the_share_of_the_gap() -> None:
    measured = Transplant(("a", "b", "c"), np.array([1.0, 1.0, 0.5]), np.array([0.0, 0.5, 0.5]), ())
    assert_array_equal(measured.recovered(np.array([0.25, 1.5, 0.1])), [0.75, -1.0, np.nan])
    assert measured.recovered_of_all(np.array([1.0, 1.0, 0.5])) == 0.0
    assert measured.recovered_of_all(np.array([0.0, 0.5, 0.5])) == 1.0
    backwards = Transplant(("a",), np.array([0.0]), np.array([1.0]), (Changed("all", None, None, np.array([0.5])),))
    assert np.isnan(backwards.recovered_of_all(backwards.of("all").loss))


def test_from_the_command_line(finished: RunFolder, saltus: Callable[..., tuple[int, str, str]]) -> None:
    code, out, error = saltus("transplant", finished.path, "--from", "40", "--to", "0", "--seed", "1")
    assert (code, error) == (0, "")
    measured = api.transplant(finished, donor=40, recipient=0, seed=1)
    records = finished.records()
    assert_array_equal(measured.donor, records.cube("units", "loss")[1, -1])
    assert_array_equal(measured.recipient, records.cube("units", "loss")[1, 0])
    assert f"{measured.of('all').loss.mean():.4f}" in out
    assert "row 3" in out
    code, out, error = saltus("ablate", finished.path)
    assert (code, error) == (0, "")
    assert f"loss {records.cube('units', 'loss')[0, -1].mean():.4f} nats" in out
    code, _, error = saltus("transplant", finished.path, "--from", "40", "--to", "3")
    assert (code, "step: 3 was given" in error) == (2, True)
    code, _, error = saltus("ablate", finished.path, "--seed", "2")
    assert (code, "has the seeds 0 to 1" in error) == (2, True)


def test_a_model_without_attention_is_refused(tmp_path: Path, in_this_process: None) -> None:
    training = TrainingSpec(steps=2, batch_sequences=4, compile=False, evaluation_sequences=4)
    spec = RunSpec(task=SPEC.task, model=MambaSpec(d_model=8), training=training, seeds=1)
    folder = api.run(spec, out=tmp_path, device="cpu")
    with pytest.raises(SaltusError, match="model: mamba has no attention pattern"):
        api.ablate(folder)
