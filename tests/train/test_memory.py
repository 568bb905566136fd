"""What cannot fit into memory is refused by arithmetic, with the field that is to be made smaller."""

from pathlib import Path
from typing import Any

import pytest

from saltus import api
from saltus.errors import SaltusError
from saltus.specs import (
    CellularAutomatonSpec,
    DataSpec,
    LinearMapSpec,
    RunSpec,
    ScheduleSpec,
    TrainingSpec,
    TransformerSpec,
)
from saltus.train.memory import check_memory, estimate_memory, read_available

GIB = 2**30
SMALL: dict[str, Any] = {"steps": 100, "batch_sequences": 8, "compile": False}


def make(task: Any = None, **training: Any) -> RunSpec:
    return RunSpec(
        task=task or LinearMapSpec(size=8, sparsity=2),
        model=TransformerSpec(layers=1, d_model=32, heads=4),
        training=TrainingSpec(**(SMALL | training)),
        seeds=4,
    )


@pytest.mark.parametrize(
    ("spec", "field", "value"),
    [
        (make(batch_sequences=10**12), "training.batch_sequences", "1,000,000,000,000"),
        (make(evaluation_sequences=10**12), "training.evaluation_sequences", "1000000000000"),
        (make(CellularAutomatonSpec(size=4096, states=256), batch_sequences=1, patterns=False), "task.size", "4096"),
        (make(steps=10**8, evaluate=ScheduleSpec(every=1)), "training.evaluate", "every"),
        (make(steps=10**8, snapshot=ScheduleSpec(every=1)), "training.snapshot", "every"),
    ],
)
def test_what_cannot_fit_is_refused_before_anything_is_allocated(
    spec: RunSpec, field: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saltus.train.memory.read_available", lambda: 8 * GIB)
    with pytest.raises(SaltusError, match=rf"takes .* GiB of memory at least, and 8.0 GiB are there; .* {field}") as e:
        api.run(spec, out=tmp_path, device="cpu")
    assert value in str(e.value)
    assert str(e.value).endswith("make it smaller")
    assert list(tmp_path.iterdir()) == []


def test_finite_data_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = LinearMapSpec(size=512, sparsity=2)  # a sequence has 1,024 tokens
    large = make(task, patterns=False).model_copy(update={"data": DataSpec(train=1000, test=2_000_000)})
    monkeypatch.setattr("saltus.train.memory.read_available", lambda: 8 * GIB)
    with pytest.raises(SaltusError, match=r"come of data\.test, which is 2000000: make it smaller"):
        api.run(large, out=tmp_path, device="cpu", processes=3)
    parts = [estimate_memory(large, processes)["data.test"] for processes in (1, 3)]
    assert parts == [2 * 2_000_000 * 1024, 3 * 2 * 2_000_000 * 1024]
    assert "training.evaluation_sequences" not in estimate_memory(large, 1)  # the test set is what is evaluated


def test_a_usual_run_needs_little() -> None:
    spec = make()
    assert sum(estimate_memory(spec, 4).values()) < GIB / 100
    check_memory(spec, 4, GIB)
    with pytest.raises(SaltusError):
        check_memory(spec, 4, 1000)


def test_more_processes_need_more() -> None:
    spec = make()
    assert sum(estimate_memory(spec, 4).values()) > sum(estimate_memory(spec, 1).values())


def test_what_is_left_is_the_least_of_machine_and_container(tmp_path: Path) -> None:
    listing, groups = tmp_path / "meminfo", tmp_path / "groups"
    assert read_available(listing, groups) is None
    listing.write_text("MemTotal: 100 kB\nMemAvailable:   50 kB\n")
    assert read_available(listing, groups) == 50 * 1024
    groups.mkdir()
    (groups / "memory.max").write_text("max\n")
    (groups / "memory.current").write_text("100\n")
    assert read_available(listing, groups) == 50 * 1024
    (groups / "memory.max").write_text("1100\n")
    assert read_available(listing, groups) == 1000
    (groups / "memory").mkdir()
    (groups / "memory" / "memory.limit_in_bytes").write_text("700")
    (groups / "memory" / "memory.usage_in_bytes").write_text("600")
    assert read_available(listing, groups) == 100
    listing.write_text("nonsense")
    assert read_available(listing, groups) == 100
