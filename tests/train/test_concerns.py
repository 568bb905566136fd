"""What is said before training."""

from pathlib import Path

import numpy as np
import pytest

from saltus.specs import RunSpec
from saltus.train import concerns
from saltus.train.concerns import find_unknown_floor, list_concerns, multiplies_low


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("flags\t\t: fpu sse avx2\n", False),
        ("flags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: amx_bf16\n", True),
        ("Features\t: fp asimd bf16 sve\n", True),
        ("Features\t: fp asimd\n", False),
        ("a line without\n", False),
    ],
)
def test_a_processor_says_whether_it_multiplies_in_bfloat16(tmp_path: Path, text: str, there: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert multiplies_low(tmp_path / "cpuinfo") is there


def test_where_it_is_not_known_nothing_is_said(tmp_path: Path) -> None:
    assert multiplies_low(tmp_path / "none")


def test_bfloat16_on_a_processor_without_it_is_said(tiny: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    values = tiny.model_dump()
    values["training"] |= {"precision": "bfloat16"}
    low = RunSpec(**values)
    monkeypatch.setattr(concerns, "multiplies_low", lambda: False)
    (said,) = list_concerns(low)
    assert "take training.precision float32" in said
    assert list_concerns(low, "cuda") == []
    assert list_concerns(tiny) == []
    monkeypatch.setattr(concerns, "multiplies_low", lambda: True)
    assert list_concerns(low) == []


def test_an_unknown_floor_is_said(tiny: RunSpec) -> None:
    from dataclasses import replace

    from saltus.tasks.build import read_facts

    facts = read_facts(tiny)
    assert find_unknown_floor("tiny", facts) is None
    unknown = facts.floor_loss.copy()
    unknown[np.flatnonzero(facts.scored)[:1]] = np.nan
    said = find_unknown_floor("tiny", replace(facts, floor_loss=unknown))
    assert said is not None
    assert said.startswith("tiny: the smallest reachable loss is not known for 25% of the predictions")
