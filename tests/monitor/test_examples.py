"""Every example runs, is short, and leaves a folder that can be shown."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from saltus import api
from saltus.monitor.folder import MonitorFolder

EXAMPLES = Path(__file__).parents[2] / "examples"
NEEDS = {
    "character_gpt": None,
    "huggingface_trainer": "accelerate",
    "lightning_trainer": "lightning",
    "watch_induction": None,
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_listed_and_short() -> None:
    lengths = {path.stem: path.read_text().count("\n") for path in EXAMPLES.glob("*.py")}
    assert lengths.keys() == NEEDS.keys()
    assert max(lengths.values()) <= 60


@pytest.mark.filterwarnings("ignore")  # of other people's trainers
@pytest.mark.parametrize("name", NEEDS)
def test_examples_run(name: str, tmp_path: Path) -> None:
    if (package := NEEDS[name]) is not None:
        pytest.importorskip(package)
    torch.set_num_threads(1)
    load(name).main(str(tmp_path / name), steps=12)
    folder = api.find(name, tmp_path)
    assert isinstance(folder, MonitorFolder)
    records = folder.records()
    assert records.finished
    assert records.rows[-1].step == 12
    assert records.notes == ()
    assert np.isfinite(records.masses).all()
    assert records.masses.shape[1:] == (2, 4, 4)
    assert [event for event in records.events if event.kind == "failed"] == []
