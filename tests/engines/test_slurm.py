"""Jobs of Slurm's through submitit's executor of this machine: one is killed, one is preempted."""

import signal
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from submitit.core.core import Job
from submitit.core.utils import UncompletedJobError
from tests.engines.small_study import QUIET, assert_as_here, assert_resumed, interrupt, load

from saltus import api
from saltus.engines import slurm
from saltus.engines.base import Outcome
from saltus.engines.slurm import SlurmEngine

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


class Task:
    """What submitit gives for a job: one that never ends, or that has an outcome, or that died."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.cancelled = False

    def done(self) -> bool:
        return self.state != "at work"

    def result(self) -> Outcome:
        if self.state == "died":
            raise UncompletedJobError("Job 7 has not produced any output\nsigkill")
        return Outcome()

    def cancel(self, check: bool) -> None:
        self.cancelled = True


@dataclass(frozen=True)
class Named:
    names: tuple[str, ...]

    def perform(self, console: Console) -> Outcome:
        raise NotImplementedError


class Executor:
    """Gives tasks in given states, in the order in which jobs are sent."""

    def __init__(self, *states: str) -> None:
        self._states = list(states)
        self.arrays: list[list[Task]] = []

    def map_array(self, function: object, jobs: list[Named], where: list[Path]) -> list[Task]:
        self.arrays.append([Task(self._states.pop(0)) for _ in jobs])
        return self.arrays[-1]


def run(executor: Executor, *names: str) -> Generator[Outcome, None, None]:
    return SlurmEngine("cpu", 1, executor).run([Named((name,)) for name in names])


def test_whoever_stops_asking_cancels_what_is_at_work() -> None:
    executor = Executor("done", "at work")
    outcomes = run(executor, "one", "two")
    assert next(outcomes) == Outcome()
    outcomes.close()  # as Ctrl-C does
    assert [task.cancelled for array in executor.arrays for task in array] == [False, True]


def test_a_job_that_dies_again_and_again_is_given_up_with_what_it_said_last() -> None:
    executor = Executor("died", "done", "died", "died", "died")
    outcomes = list(run(executor, "one", "two"))
    assert [len(array) for array in executor.arrays] == [2, 1, 1, 1]
    assert Outcome() in outcomes
    [reason] = [outcome.failed["one"] for outcome in outcomes if outcome.failed]
    assert reason.startswith("the job died 4 times (Job 7 has not produced any output … sigkill); mend that")


def test_arrays_are_no_longer_than_slurm_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "ARRAY", 2)
    executor = Executor(*["done"] * 5)
    assert len(list(run(executor, *"abcde"))) == 5
    assert [len(array) for array in executor.arrays] == [2, 2, 1]
