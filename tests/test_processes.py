"""Machines of other kinds: without affinity, with a share of time, without a home."""

import os
from pathlib import Path

import pytest
import torch

from saltus.engines import workers
from saltus.engines.local import choose_device
from saltus.engines.workers import find_cache
from saltus.errors import SaltusError
from saltus.processes import count_cores


def bound_to_eight(process: int) -> range:
    return range(8)


def test_where_a_system_does_not_say_what_a_process_is_bound_to_it_is_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert count_cores(tmp_path) == 10
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores(tmp_path) == 1


@pytest.mark.parametrize(("text", "cores"), [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("odd", 8)])
def test_a_container_is_given_a_share_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", bound_to_eight, raising=False)
    (tmp_path / "cpu.max").write_text(text)
    assert count_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("400000", 4), ("10000", 1)])
def test_an_older_container_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", bound_to_eight, raising=False)
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert count_cores(tmp_path) == cores


def test_a_user_without_a_home_compiles_into_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", staticmethod(nobody))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert find_cache().parent == tmp_path
    monkeypatch.setattr(Path, "home", staticmethod(lambda: tmp_path / "gone"))  # HOME names a folder that is not there
    assert find_cache().parent == tmp_path
    monkeypatch.setattr(Path, "home", staticmethod(lambda: tmp_path))
    assert find_cache() == tmp_path / ".cache" / "saltus"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert workers.choose_environment()["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / ".cache" / "saltus")


def test_a_gpu_of_apples_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert choose_device("auto") == torch.device("cpu")
    assert choose_device("mps") == torch.device("mps")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(SaltusError, match="'mps' was given, but PyTorch finds no GPU of Apple's here; use 'cpu'"):
        choose_device("mps")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")
