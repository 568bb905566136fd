"""What is said before training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saltus.specs import CustomSpec, RunSpec
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
    values["training"] |= {"precision": "float32", "optimizer": "muon"}
    (said,) = list_concerns(RunSpec(**values))
    assert said.endswith("take another training.optimizer than muon")
    monkeypatch.setattr(concerns, "multiplies_low", lambda: True)
    assert list_concerns(low) == []


class Prefix(torch.nn.Module):
    """The mean of all tokens up to each, or of all of them behind a gate that is closed at the start."""

    def __init__(self, d_model: int, length: int, leak: bool) -> None:
        super().__init__()
        self.linear, self.leak = torch.nn.Linear(d_model, d_model), leak
        self.gate = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return self.linear(seen + self.gate * x.mean(1, keepdim=True) if self.leak else seen)


@pytest.mark.parametrize("leak", [True, False])
def test_an_own_mixer_that_reads_ahead_is_said(tiny: RunSpec, leak: bool) -> None:
    values: dict[str, Any] = tiny.model_dump() | {
        "model": CustomSpec.of(Prefix, options={"leak": leak}, layers=1, d_model=8)
    }
    told = list_concerns(RunSpec(**values))
    assert [("lets later tokens move earlier outputs" in each) for each in told] == [True] * leak


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
