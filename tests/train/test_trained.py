"""The model of a checkpoint: its losses are those of the records, and what is not there is said in a sentence."""

import re
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

import saltus
from saltus import api
from saltus.errors import SaltusError
from saltus.specs import BiasSpec, CustomSpec, LinearMapSpec, RunSpec, TrainingSpec
from saltus.train.evaluate import evaluate_seed
from saltus.train.folder import RunFolder
from saltus.train.material import Material

CPU = torch.device("cpu")


class Mean(nn.Module):
    """A mixer of one's own."""

    def __init__(self, d_model: int, queries: int) -> None:
        super().__init__()
        self.project = nn.Linear(d_model, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(x.cumsum(1))


def test_its_losses_are_those_of_the_records(finished: RunFolder, tiny: RunSpec) -> None:
    recorded = finished.records().cube("positions", "loss")  # [seed, evaluation, query]
    steps = finished.records().evaluated_steps.tolist()
    for seed, step in ((0, 0), (1, 20), (1, 40)):
        model = saltus.load_model(str(finished.path), step=step, seed=seed)
        assert not model.training
        tokens = Material(tiny, seed, CPU).evaluation_tokens.long()
        with torch.no_grad():
            logits = model(tokens[:, :-1])
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
        assert_allclose(loss.double().mean(0).numpy(), recorded[seed, steps.index(step)], rtol=1e-6)


def test_with_its_bias_where_it_was_trained_under_one(tiny: RunSpec, tmp_path: Path, in_this_process: None) -> None:
    spec = tiny.model_copy(update={"intervention": BiasSpec(strength=3.0), "seeds": 1})
    folder = api.run(spec, out=tmp_path, device="cpu")
    material = Material(spec, 0, CPU)
    assert material.intervention is not None
    model, recorded = saltus.load_model(folder, 40, 0), folder.records().cube("positions", "loss")[0, -1]
    losses = [
        evaluate_seed(model, {}, material.evaluation_tokens, material.task, bias, patterns=False).loss
        for bias in (material.intervention.logits(40), None)
    ]
    assert_array_equal(losses[0], recorded)
    assert (losses[1] != recorded).any()


def test_what_is_not_there_is_said(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match=r"step: 5 was given; .* has the weights of 0, 1, 2, .*40, and of no"):
        saltus.load_model(finished, 5, 0)
    for seed in (2, -1):
        with pytest.raises(SaltusError, match=rf"seed: {seed} was given; .* has the seeds 0 to 1"):
            saltus.load_model(finished, 40, seed)
    with pytest.raises(SaltusError, match="is no run, scan"):
        saltus.load_model(tmp_path / "none", 40, 0)


def test_own_code_is_executed_only_where_that_is_allowed(tmp_path: Path, in_this_process: None) -> None:
    training = TrainingSpec(steps=2, batch_sequences=4, compile=False, evaluation_sequences=4)
    spec = RunSpec(
        task=LinearMapSpec(size=4, sparsity=2), model=CustomSpec.of(Mean, d_model=8), training=training, seeds=1
    )
    folder = api.run(spec, out=tmp_path, device="cpu")
    with pytest.raises(SaltusError, match=re.escape("model: Mean is code that the run keeps")):
        saltus.load_model(folder, 2, 0)
    assert saltus.load_model(folder, 2, 0, own_code=True)(torch.zeros(1, 7, dtype=torch.long)).shape == (1, 7, 2)
