"""What is said before training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from saltus.specs import CustomSpec, RunSpec, SparseParitySpec
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
    """The mean of all tokens up to each, and a way to others that must not be read."""

    def __init__(self, d_model: int, length: int, way: str) -> None:
        super().__init__()
        self.linear, self.way = torch.nn.Linear(d_model, d_model), way
        self.gate = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.shape[1]
        seen = x.cumsum(1) / torch.arange(1, length + 1)[:, None]
        match self.way:
            case "behind a gate that is closed at the start":
                seen = seen + self.gate * x.mean(1, keepdim=True)
            case "within chunks of four":
                chunk = torch.arange(length) // 4
                seen = seen + (chunk[:, None] == chunk).float() @ x
            case "from the first place":
                seen = torch.cat([x[:, 1:2], seen[:, 1:]], 1)
            case "from the second half":
                seen = torch.cat([seen[:, : length // 2], x.roll(-1, 1)[:, length // 2 :]], 1)
            case "with small outputs":
                return 1e-5 * self.linear(x.flip(1))
            case "to the mean of the batch":
                seen = seen - x.mean(0)
            case "to the sequence before it":
                seen = x.roll(1, 0)
            case _:
                pass
        return self.linear(seen)


@pytest.mark.parametrize("size", [9, 17, 18])
@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("none", None),
        ("behind a gate that is closed at the start", "later tokens move earlier outputs"),
        ("within chunks of four", "later tokens move earlier outputs"),
        ("from the first place", "later tokens move earlier outputs"),
        ("from the second half", "later tokens move earlier outputs"),
        ("with small outputs", "later tokens move earlier outputs"),
        ("to the mean of the batch", "other sequences of a batch move outputs"),
        ("to the sequence before it", "other sequences of a batch move outputs"),
    ],
)
def test_an_own_mixer_that_reads_what_it_must_not_is_said(tiny: RunSpec, size: int, way: str, said: str | None) -> None:
    model = CustomSpec.of(Prefix, options={"way": way}, layers=1, d_model=8)
    spec = tiny.model_copy(update={"model": model, "task": SparseParitySpec(bits=size, subset=2)})
    told = list_concerns(spec)
    assert [str(said) in each for each in told] == [True] * (said is not None)


class Chaotic(torch.nn.Module):
    """A recurrence that amplifies rounding, one step after the other."""

    def __init__(self, d_model: int, length: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(d_model, d_model)
        torch.nn.init.orthogonal_(self.linear.weight, gain=3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, states = x[:, 0], [x[:, 0]]
        for at in x.unbind(1)[1:]:
            state = torch.tanh(self.linear(state) + 0.1 * at)
            states.append(state)
        return torch.stack(states, 1)


def test_rounding_that_a_recurrence_amplifies_is_no_leak(tiny: RunSpec) -> None:
    model = CustomSpec.of(Chaotic, layers=1, d_model=24)
    assert list_concerns(tiny.model_copy(update={"model": model, "task": SparseParitySpec(bits=100, subset=2)})) == []


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
