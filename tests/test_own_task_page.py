"""The examples of docs/own-task.md run as they stand, and give what the page says of them."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saltus import api
from saltus.specs import RunSpec
from saltus.studies.study import load_study
from saltus.train.records import RunRecords

PAGE = Path(__file__).parents[1] / "docs" / "own-task.md"

Train = Callable[[str], tuple[str, RunSpec, RunRecords]]


@pytest.fixture
def train(tmp_path: Path, in_this_process: None) -> Train:
    """Trains the example that holds a word; its code, its description and its records."""

    def call(word: str) -> tuple[str, RunSpec, RunRecords]:
        codes = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        (code,) = (code for code in codes if word in code)
        path = tmp_path / "example.py"
        path.write_text(code)
        spec = load_study(path).cells[0].run
        return code, spec, api.run(spec, out=tmp_path / "runs", device="cpu").records()

    return call


def test_parity_from_a_study_of_at_most_25_lines_is_learnt(train: Train) -> None:
    code, spec, records = train("class Parity")
    assert len(code.splitlines()) <= 25
    assert spec.task.vocabulary == 2
    assert (records.cube("units", "accuracy")[:, -1] > 0.95).all()
    assert (records.cube("heads", "truth_mass")[:, -1].max((1, 2)) > 0.5).all()  # some head looks at both bits
    assert records.facts.truth[7].sum() == 2


def test_modular_addition_knows_its_training_set_long_before_its_test_set(train: Train) -> None:
    _, _, records = train("Modular addition groks")
    steps = records.evaluated_steps
    known, general = (records.cube(table, "accuracy")[0, :, 0] for table in ("training_set", "units"))
    by_heart = steps[np.argmax(known > 0.99)]
    assert known.max() > 0.99
    assert general[steps == by_heart] < 0.6
    assert general[-3:].max() > 0.9
    assert steps[np.argmax(general > 0.9)] >= 2 * by_heart
    # the test loss rises or waits while the training loss is near zero, and falls later
    loss = records.cube("units", "loss")[0, :, 0]
    assert loss[steps == by_heart] > 2.0 > 0.7 > loss[-3:].min()  # when it comes differs between processors
