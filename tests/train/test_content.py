"""Runs on tasks that are keyed by content: they can be learned, recorded and shown."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Silence

from saltus.report.html.page import write_report
from saltus.report.sections import describe
from saltus.specs import (
    AssociativeRecallSpec,
    InductionSpec,
    MlpMixerSpec,
    RunSpec,
    ScheduleSpec,
    SubsetRecallSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.specs.models import BackboneSpec
from saltus.specs.tasks import TaskSpec
from saltus.tasks.build import read_facts
from saltus.train.ensemble import Ensemble, Member, list_members
from saltus.train.folder import RunFolder
from saltus.train.loop import Job, train
from saltus.train.records import RunRecords

CPU = torch.device("cpu")
INDUCTION = InductionSpec(symbols=24, length=24, shortest=12, longest=20)


def make_run(task: TaskSpec, model: BackboneSpec, steps: int, seeds: int = 1) -> RunSpec:
    return RunSpec(
        name="content",
        task=task,
        model=model,
        training=TrainingSpec(
            steps=steps,
            batch_sequences=64,
            learning_rate=3e-3,
            warmup=10,
            compile=False,
            evaluation_sequences=128,
            evaluate=ScheduleSpec(every=10),
            loss="scored",
        ),
        seeds=seeds,
    )


def test_two_layers_of_attention_learn_to_look_where_a_symbol_was_followed_before() -> None:
    torch.set_num_threads(1)
    spec = make_run(INDUCTION, TransformerSpec(layers=2, d_model=32, heads=2, d_mlp=64), steps=600)
    facts = read_facts(spec)
    ensemble = Ensemble([spec], list_members([spec]), CPU, stacked=False)
    (before,) = ensemble.evaluate().values()
    ensemble.advance(600)
    (after,) = ensemble.evaluate().values()
    assert facts.mean_by_unit(before.accuracy)[0] < 0.15
    assert facts.mean_by_unit(after.accuracy)[0] > 0.8
    assert facts.mean_by_unit(before.truth_mass).max() < 0.1
    assert facts.mean_by_unit(after.truth_mass)[1].max() > 0.5  # in the second layer
    # By the mean over sequences no head looks anywhere in particular: the candidates are nine keys.
    assert after.pattern[1][:, facts.scored].max() < 0.4


def run(spec: RunSpec, path: Path) -> RunRecords:
    """Trained in this process to its end."""
    torch.set_num_threads(1)
    folder = RunFolder(path / spec.run_id)
    job = Job(spec, folder, read_facts(spec), tuple(range(spec.seeds)))
    with folder.training(spec, job.facts):
        ensemble = Ensemble([spec], list_members([spec]), CPU, stacked=False)
        train([job], ensemble, Silence(), lambda _: folder.finish({"last_step": spec.training.steps}))
    return folder.records()


@pytest.mark.parametrize(
    "task",
    [
        AssociativeRecallSpec(pairs=4, queries=2, keys=6, values=5),
        InductionSpec(symbols=9, length=10, shortest=5, longest=7),
        SubsetRecallSpec(items=3, queries=2, attributes=3, relevant=2, symbols=3, values=4),
    ],
    ids=lambda task: task.kind,
)
def test_a_run_is_recorded_and_shown(task: TaskSpec, tmp_path: Path) -> None:
    spec = make_run(task, TransformerSpec(layers=2, d_model=8, heads=2, d_mlp=16), steps=10, seeds=2)
    records = run(spec, tmp_path)
    assert records.facts.varies
    mass, overlap = (records.cube("heads", name) for name in ("truth_mass", "overlap"))
    assert mass.shape == overlap.shape == (2, len(records.evaluated_steps), 2, 2, 1)
    ensemble = Ensemble([spec], list_members([spec]), CPU, stacked=False)
    ensemble.advance(10)
    evaluation = ensemble.evaluate()[Member(0, 1)]
    np.testing.assert_allclose(mass[1, -1], records.facts.mean_by_unit(evaluation.truth_mass), rtol=1e-5)
    np.testing.assert_allclose(overlap[1, -1], records.facts.mean_by_unit(evaluation.overlap), rtol=1e-5)
    write_report(describe([records]), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "the candidate keys are outlined" in text
    assert "of tokens that are drawn at random" in text
    assert "for a head that looks at a candidate key whatever the content" in text
    assert "luckiest" not in text


def test_a_run_without_attention_has_no_heads(tmp_path: Path) -> None:
    records = run(make_run(INDUCTION, MlpMixerSpec(d_model=8), steps=10), tmp_path)
    assert not records.measured_attention
    assert records.cube("units", "progress").shape == (1, len(records.evaluated_steps), 1)
