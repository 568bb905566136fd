"""The examples of the page on monitors run as they stand."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.monitor.test_trackers import FakeWriter
from tests.monitor.trainings import TOKENIZER, OwnAttention, make_llama

from saltus.monitor.folder import MonitorFolder

PAGE = Path(__file__).parents[2] / "docs" / "monitor.md"


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, writer = make_llama(), FakeWriter()
    names: dict[str, Any] = {
        "tokenizer": TOKENIZER,
        "model": model,
        "own_model": OwnAttention(),
        "batches": [torch.randint(0, 32, (2, 12)) for _ in range(3)],
        "optimiser": torch.optim.AdamW(model.parameters()),
        "writer": writer,
    }
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(block, names)
    folders = {path.name: MonitorFolder(path) for path in (tmp_path / "runs").iterdir()}
    assert folders.keys() == {"mine", "own", "any", "told"}
    assert all(folder.finished and folder.records().notes == () for folder in folders.values())
    own = folders["own"].records()
    assert own.spec.capabilities == ("copying", "knows_the_answer")
    assert own.spec.patterns == ("induction", "two_back")
    assert np.isfinite(own.masses).all()
    assert own.rows[0].scalars["norm of the head"] > 0
    assert folders["any"].records().masses.shape == (1, 1, 1, 4)
    assert writer.written
