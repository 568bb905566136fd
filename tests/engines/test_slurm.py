"""Jobs of Slurm's through submitit's executor of this machine: one is killed, one is preempted."""

import signal
from pathlib import Path

import psutil
import pytest
from submitit.core.core import Job
from tests.engines.small_study import QUIET, assert_as_here, assert_resumed, interrupt, load

from saltus import api
from saltus.engines import slurm

HERE = {"cluster": "local"}


def test_a_job_that_is_killed_or_preempted_is_sent_again_and_resumes(
    tmp_path: Path, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "POLL", 0.05)
    monkeypatch.setattr(Job, "_results_timeout_s", 0)
    study, logs = load(tmp_path), tmp_path / "logs"

    def end_both() -> None:
        controllers = sorted(int(path.name.split("_")[0]) for path in logs.glob("*_0_log.out"))
        tasks = [task for controller in controllers for task in psutil.Process(controller).children()]
        tasks[0].send_signal(signal.SIGKILL)  # as by the loss of a machine
        tasks[1].send_signal(signal.SIGUSR2)  # as Slurm preempts: submitit requeues it

    with api.open_engine("slurm", device="cpu", slurm=HERE, logs=logs) as engine:
        assert engine.slots is None
        written = interrupt(tmp_path, study, end_both)
        folders = api.run_study(study, out=tmp_path / "out", engine=engine, console=QUIET)
    assert all(folder.finished for folder in folders)
    assert_resumed(written)
    said = "".join(path.read_text() for path in logs.glob("*_log.*"))
    assert said.count("resumed at step") == 2
    assert said.count("Requeued job") == 1
    assert len(list(logs.glob("*_0_log.out"))) == 3  # the one that was killed was sent as another job
    assert_as_here(study, tmp_path)
