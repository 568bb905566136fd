"""Run folders of version 0.1 are found under their old name and read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from saltus.specs import BiasSpec, EmergenceSpec, RunSpec
from saltus.storage.files import list_hashes
from saltus.train.archive import Archive
from saltus.train.folder import RunFolder


@pytest.fixture
def former(finished: RunFolder, tiny: RunSpec, tmp_path: Path) -> tuple[RunSpec, Path]:
    """The tiny run as version 0.1 left it: a rule in the hash, a bias without a kind, a column less, no notes."""
    bias = BiasSpec(strength=2.0, until=7)
    spec = tiny.model_copy(update={"emergence": EmergenceSpec(hold=3), "intervention": bias})
    path = tmp_path / f"tiny-{spec.former_hash}"
    shutil.copytree(finished.path, path)
    values = spec.model_dump(mode="json")
    del values["intervention"]["kind"]
    (path / "spec.json").write_text(json.dumps(values, indent=2))
    for table in (path / "records").glob("*.parquet"):
        content = pq.read_table(table).replace_schema_metadata(None)
        if table.stem == "steps":
            content = content.drop_columns("lowest_train_loss")
        pq.write_table(content, table)
    (path / "records" / "manifest.json").unlink()
    list_hashes(path / "records")
    return spec, path


def test_a_run_of_version_0_1_is_found_and_read(former: tuple[RunSpec, Path], finished: RunFolder) -> None:
    spec, path = former
    assert spec.former_hash != spec.content_hash
    folder = RunFolder.of(path.parent, spec)
    assert folder.path == path
    records = folder.records()
    assert (records.spec, records.finished, records.rule.hold) == (spec, True, 3)
    assert np.isnan(records.cube("steps", "lowest_train_loss")).all()
    for table, column in (("steps", "loss"), ("units", "progress"), ("positions", "accuracy"), ("heads", "entropy")):
        np.testing.assert_array_equal(records.cube(table, column), finished.records().cube(table, column))
    assert len(records.curves) == 2 * 5


def test_it_is_packed_under_its_new_hash(former: tuple[RunSpec, Path]) -> None:
    spec, path = former
    records = RunFolder(path).records()
    archive = Archive(path.parent / "kept")
    archive.add("old", [records])
    found = Archive(path.parent / "kept").find(spec)
    assert found is not None
    np.testing.assert_array_equal(found.cube("units", "progress"), records.cube("units", "progress"))
    assert spec.model_copy(update={"emergence": EmergenceSpec(hold=4), "name": "other"}) in archive  # a rule is no part
