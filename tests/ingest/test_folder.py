"""Curves on disk are the curves that were read; damage says how to get out of it; a name takes nobody's place."""

from pathlib import Path

import numpy as np
import pytest
from tests.ingest.files import accuracy, write, write_old

import saltus
from saltus import Rule, SaltusError, api
from saltus.ingest.folder import CurvesFolder


@pytest.fixture
def kept(tmp_path: Path) -> CurvesFolder:
    for step, value in ((0, 0.1), (1, float("nan")), (3, 0.9)):
        write_old(tmp_path / "evals" / f"m_step{step}.json", "m", step, {"piqa": accuracy(value)})
        write_old(tmp_path / "evals" / f"n_step{step}.json", "n", step, {"piqa": accuracy(value), "x": {"acc": 0.5}})
    write_old(tmp_path / "evals" / "n_step2.json", "n", 2, {"piqa": accuracy(0.5)})
    write_old(tmp_path / "evals" / "o_step2.json", "o", 2, {"piqa": accuracy(0.5)})
    saltus.read(tmp_path / "evals", rule=Rule(above=0.4), name="evals", out=tmp_path / "runs")
    return CurvesFolder(tmp_path / "runs" / "evals")


def test_what_is_read_back_is_what_was_read(kept: CurvesFolder, tmp_path: Path) -> None:
    curves = saltus.read(tmp_path / "evals", rule=Rule(above=0.4))
    back = kept.records().curves
    assert (back.measure, back.rule, back.notes) == (curves.measure, curves.rule, curves.notes)
    for one, other in zip(back, curves, strict=True):
        assert (one.key, one.missing) == (other.key, other.missing)
        np.testing.assert_array_equal([one.chance, one.ceiling], [other.chance, other.ceiling])
        np.testing.assert_array_equal(one.steps, other.steps)
        np.testing.assert_array_equal(one.values, other.values)
        assert (one.standard_error is None) == (one.key.unit == "x")
        np.testing.assert_array_equal(np.asarray(one.standard_error), np.asarray(other.standard_error))
    assert any(curve.missing for curve in back)
    assert back.emergences() == curves.emergences()


def test_what_is_read_again_takes_the_place_of_what_was_there(kept: CurvesFolder, tmp_path: Path) -> None:
    saltus.read(tmp_path / "evals", only=["x"], name=kept.path.name, out=kept.path.parent)
    assert kept.records().curves.units == ["x"]
    assert kept.spec().only == ("x",)
    assert api.describe(kept).what == f"from {tmp_path / 'evals'}"
    saltus.read(tmp_path / "evals", tmp_path / "evals" / "n_step2.json", name=kept.path.name, out=kept.path.parent)
    assert api.describe(kept).what == f"from {tmp_path / 'evals'} and 1 more"


@pytest.mark.parametrize("end", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_reading_that_ends_early_leaves_what_was_read_before(
    kept: CurvesFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    def fail(*given: object, **options: object) -> None:
        raise end

    before = {path: path.read_bytes() for path in kept.path.rglob("*.*") if path.is_file()}
    assert len(before) > 5
    monkeypatch.setattr("saltus.ingest.folder.write_json", fail)
    with pytest.raises((SaltusError, KeyboardInterrupt)) as caught:
        saltus.read(tmp_path / "evals", only=["x"], name=kept.path.name, out=kept.path.parent)
    assert isinstance(end, KeyboardInterrupt) or str(caught.value).endswith("again: what was whole is kept")
    assert {path: path.read_bytes() for path in kept.path.rglob("*.*") if path.is_file()} == before


def test_a_reading_that_ends_between_curves_and_description_is_not_finished(
    kept: CurvesFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the new curves would be listed under the paths of the former ones."""

    def fail(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CurvesFolder, "describe", fail)
        with pytest.raises(KeyboardInterrupt):
            saltus.read(tmp_path / "evals", only=["x"], name=kept.path.name, out=kept.path.parent)
    assert kept.records().curves.units == ["x"]
    assert api.describe(kept).state == "not finished"
    saltus.read(tmp_path / "evals", only=["x"], name=kept.path.name, out=kept.path.parent)
    assert api.describe(kept).state == "finished"


@pytest.mark.parametrize("name", ["records/curves.parquet", "records/values.parquet", "records/reading.json"])
def test_damage_to_a_file_is_said_with_its_remedy(kept: CurvesFolder, name: str) -> None:
    path = kept.path / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SaltusError, match=f"{name} differs from what was written; delete .* it is read anew"):
        kept.records()
    path.unlink()
    with pytest.raises(SaltusError, match=f"{name} is missing"):
        kept.records()


@pytest.mark.parametrize("name", ["../x", ".x", "a b", "x" * 65, "run-0123456789", "x.partial", ""])
def test_a_name_that_is_none_for_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SaltusError, match=r"name: .* allowed are 1 to 64 of"):
        CurvesFolder.of(tmp_path, name)


def test_nothing_else_is_written_over(kept: CurvesFolder, tmp_path: Path) -> None:
    write(tmp_path / "runs" / "mine" / "note.txt", "mine")
    with pytest.raises(SaltusError, match="is there and holds no curves; choose another name"):
        saltus.read(tmp_path / "evals", name="mine", out=tmp_path / "runs")
    with pytest.raises(SaltusError, match="is there and holds no curves"):
        saltus.read(tmp_path / "evals", name="evals", out=tmp_path)
