"""Logits of several seeds as one model: one seed is itself, and equal seeds are no better than one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from saltus import BiasSpec, RunSpec, TrainingSpec, TransformerSpec, api
from saltus.errors import SaltusError
from saltus.specs import CustomTask, DataSpec, ModularAdditionSpec, MultiQueryRecallSpec
from saltus.tasks.base import TaskFacts
from saltus.train.folder import RunFolder
from saltus.train.pooled import measure_pooled

Saltus = Callable[..., tuple[int, str, str]]


class Parity:
    """Bits, and at the end whether their sum is odd."""

    def __init__(self, generator: np.random.Generator, bits: int) -> None:
        self.bits = bits
        self.facts = TaskFacts.of(
            symbols=2, length=bits + 1, units={"parity": [bits - 1]}, truth={bits - 1: range(bits)}
        )

    def sample(self, generator: np.random.Generator, count: int) -> np.ndarray:
        tokens = generator.integers(0, 2, (count, self.bits + 1))
        tokens[:, -1] = tokens[:, :-1].sum(1) % 2
        return tokens


def test_one_seed_has_the_progress_that_was_recorded(finished: RunFolder) -> None:
    (one,) = measure_pooled(finished, [1])
    recorded = finished.records().cube("units", "progress")[:, -1]
    np.testing.assert_allclose(one.progress, recorded, atol=1e-6)
    assert one.choices == finished.spec().seeds


def test_equal_seeds_pool_to_themselves_and_others_do_not(finished: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(shutil.copytree(finished.path, tmp_path / "equal"))
    one, both = measure_pooled(folder, [1, folder.spec().seeds])
    assert not np.allclose(both.progress[0], one.progress[0])
    for checkpoint in (folder.path / "checkpoints").iterdir():
        first, *others = sorted(checkpoint.glob("*seed*"))
        for other in others:
            shutil.copy(first, other)
    one, both = measure_pooled(folder, [1, folder.spec().seeds])
    np.testing.assert_allclose(both.progress[0], one.progress[0], atol=1e-6)


def test_what_answers_different_questions_is_not_pooled(finished: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = finished.spec()
    for change, message in (
        ({"intervention": BiasSpec(strength=4.0)}, "the mean of logits is measured without one"),
        ({"map": "seed"}, "each seed has its own map or data"),
    ):
        monkeypatch.setattr(RunFolder, "spec", Mock(return_value=spec.model_copy(update=change)))
        with pytest.raises(SaltusError, match=message):
            measure_pooled(finished, [1])


def test_pooling_is_a_command(finished: RunFolder, saltus: Saltus) -> None:
    (pooled,) = api.pool(finished)
    assert pooled.coverage.units == len(finished.records().facts.units)
    assert [each.size for each in pooled.logits] == list(pooled.coverage.sizes)
    code, out, error = saltus("pool", finished.path, "--seeds", "2")
    assert (code, error) == (0, "")
    assert "│ 2 " in out
    code, _, error = saltus("pool", finished.path, "--seeds", "9")
    assert (code, f"seeds: 9 was given; there are 1 to {len(finished.records().seeds)} seeds to pool" in error) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    "values",
    [
        {"task": MultiQueryRecallSpec(pairs=2, length=12, keys=4, values=4)},  # asks at other places in each sequence
        {"task": ModularAdditionSpec(modulus=5), "data": DataSpec(train=12, test=10)},  # has a test set
    ],
    ids=["reordered", "finite"],
)
def test_one_seed_is_measured_on_what_the_run_was_measured_on(
    tmp_path: Path, values: dict[str, Any], in_this_process: None
) -> None:
    training = TrainingSpec(
        steps=30, batch_sequences=8, learning_rate=1e-2, compile=False, evaluation_sequences=32, loss="scored"
    )
    spec = RunSpec(model=TransformerSpec(layers=1, d_model=16, heads=2), training=training, seeds=2, **values)
    folder = api.run(spec, out=tmp_path, device="cpu")
    (one,) = measure_pooled(folder, [1])
    recorded = folder.records().cube("units", "progress")[:, -1]
    np.testing.assert_allclose(one.progress, recorded, atol=1e-5)


def test_code_that_a_run_keeps_is_executed_only_where_that_is_allowed(
    tmp_path: Path, saltus: Saltus, in_this_process: None
) -> None:
    training = TrainingSpec(steps=4, batch_sequences=8, compile=False, evaluation_sequences=8)
    model = TransformerSpec(layers=1, d_model=8, heads=2)
    run = RunSpec(name="own", task=CustomTask.of(Parity, bits=4), model=model, training=training, seeds=2)
    folder = api.run(run, out=tmp_path, device="cpu")
    code, _, error = saltus("pool", folder.path)
    assert (code, "task: Parity is code that the run keeps, and would be executed; give own_code=True" in error) == (
        2,
        True,
    )
    assert saltus("pool", folder.path, "--own-code")[0] == 0
    (pooled,) = api.pool(folder, own_code=True)
    assert [each.size for each in pooled.logits] == [1, 2]
