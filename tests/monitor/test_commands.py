"""Folders of monitored trainings are folders like any other: ls, show, report, compare."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.monitor.test_monitor import Known, watch_known

from saltus import api
from saltus.errors import SaltusError
from saltus.monitor.folder import MonitorFolder

Saltus = Callable[..., tuple[int, str, str]]


def watch_until(path: Path, group: str, seed: int, step: int) -> MonitorFolder:
    """A training in which the share of right answers jumps at `step`, and the head becomes sharp five steps before."""
    model, monitor = Known(), watch_known(path, group=group, seed=seed)
    for now in range(0, 100, 5):
        model.right, model.sharp = float(now >= step), 0.9 * (now >= step - 5)
        monitor.step(now, model)
    monitor.close()
    return monitor.folder


def test_commands_know_monitored_trainings(saltus: Saltus, tmp_path: Path) -> None:
    watch_until(tmp_path / "mine", "small", 0, 40)
    code, out, error = saltus("ls", "--out", tmp_path)
    assert (code, error) == (0, "")
    assert "monitored training" in " ".join(out.split())
    code, out, error = saltus("show", "mine", "--out", tmp_path)
    assert (code, error) == (0, "")
    assert "(35, 40]" in out
    assert "(30, 35]" in out
    code, out, _ = saltus("show", "mine", "--out", tmp_path, "--threshold", "0.5", "--hold", "20")
    assert "not by" in out
    assert " ".join(out.split()).count("at 20 evaluations in a row") == 2  # capabilities and patterns
    assert "(30, 35]" not in out
    code, _, error = saltus("report", "mine", "--out", tmp_path, "--to", tmp_path / "page.html")
    assert (code, error) == (0, "")
    assert "share emerged in (35, 40]" in (tmp_path / "page.html").read_text()


def test_seeds_of_a_group_are_one_arm(tmp_path: Path) -> None:
    folders = [
        watch_until(tmp_path / f"{group}-{seed}", group, seed, step + 5 * seed)
        for group, step in (("small", 50), ("large", 20))
        for seed in range(4)
    ]
    compared = api.compare(*folders)
    assert [(arm.name, arm.seeds, arm.emerged) for arm in compared.arms] == [("small", 4, 4), ("large", 4, 4)]
    heads = api.compare(*folders, unit="induction")
    assert [arm.emerged for arm in heads.arms] == [4, 4]
    assert api.find_emergences(folders[0]).found[0].by == 50
    assert api.find_emergences(folders[0], unit="induction").found[0].by == 45
    with pytest.raises(SaltusError, match="group small has the seed 0 in two of the folders"):
        api.compare(folders[0], folders[0], folders[4])


def test_by_folder_each_training_is_an_arm_of_its_own(saltus: Saltus, tmp_path: Path) -> None:
    """As the error says that names a seed which two folders have."""
    folders = [watch_until(tmp_path / name, "mine", 0, step) for name, step in (("before", 50), ("after", 20))]
    with pytest.raises(SaltusError, match="or compare by folder"):
        api.compare(*folders)
    compared = api.compare(*folders, by="folder")
    assert [(arm.name, arm.seeds, arm.emerged) for arm in compared.arms] == [("before", 1, 1), ("after", 1, 1)]
    code, out, error = saltus("compare", "before", "after", "--by", "folder", "--out", tmp_path)
    assert (code, error) == (0, "")
    assert "before" in out


def test_the_state_of_a_training_that_goes_on_is_its_step(tmp_path: Path) -> None:
    monitor = watch_known(tmp_path / "mine")
    monitor.step(0, Known())
    assert api.describe(api.find("mine", tmp_path)).state == "being written"
    monitor.close()
    (tmp_path / "mine" / "finished.json").unlink()
    assert api.describe(api.find("mine", tmp_path)).state == "at step 0"
