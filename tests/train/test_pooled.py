"""Logits of several seeds as one model: one seed is itself, and equal seeds are no better than one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from saltus import BiasSpec, api
from saltus.errors import SaltusError
from saltus.train.folder import RunFolder
from saltus.train.pooled import measure_pooled

Saltus = Callable[..., tuple[int, str, str]]


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
