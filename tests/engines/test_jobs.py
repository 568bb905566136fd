"""What is sent, what is told of it, and what is seen of it meanwhile."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import pytest
from rich.console import Console
from tests.engines.remote import Remote
from tests.train.test_together import assert_equal_records

from saltus import api
from saltus.api.jobs import plan_runs
from saltus.engines.base import Job, Outcome, perform
from saltus.errors import SaltusError
from saltus.specs import DistillationSpec, LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.studies.flops import count_flops
from saltus.studies.jobs import CORE_FLOPS, Plan, Rate, tell_plan
from saltus.studies.status import read_standings
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]
QUIET = Console(quiet=True)


def make(name: str, width: int = 16, **changed: object) -> RunSpec:
    return RunSpec(
        name=name,
        task=LinearMapSpec(size=6, sparsity=1),
        model=TransformerSpec(d_model=width, heads=2),
        training=TrainingSpec(
            steps=12, batch_sequences=8, compile=False, evaluation_sequences=16, checkpoint=ScheduleSpec(every=6)
        ),
        seeds=2,
        **changed,  # pyright: ignore[reportArgumentType]
    )


def test_a_job_that_dies_or_fails_is_told_and_the_others_are_done(tmp_path: Path, in_this_process: None) -> None:
    fine, dying, damaged = make("fine"), make("dying", 8), make("damaged", 24)
    broken = RunFolder.of(tmp_path, damaged)
    broken.path.mkdir()
    (broken.path / "spec.json").write_text("{")
    with pytest.raises(SaltusError) as raised:
        api.run_all([fine, dying, damaged], out=tmp_path, engine=Remote("dying"), console=QUIET)
    told = str(raised.value)
    assert told.startswith(
        "2 of 3 runs failed, the others were trained: dying: the job died 4 times (its machine is gone)"
    )
    assert f"damaged: {broken.path / 'spec.json'}" in told
    assert "\n" not in told
    remote = Remote()
    shutil.rmtree(broken.path)
    folders = api.run_all([fine, dying, damaged], out=tmp_path, engine=remote, console=QUIET)
    assert sorted(remote.done) == [["damaged"], ["dying"]]  # what is finished is not sent
    for folder, spec in zip(folders, (fine, dying, damaged), strict=True):
        assert_equal_records(folder, api.run(spec, out=tmp_path / "here", device="cpu", processes=1, console=QUIET))


def test_status_says_of_a_dead_job_what_it_says_here(tmp_path: Path) -> None:
    spec = make("dying")
    with pytest.raises(SaltusError, match=r"^dying: the job died 4 times"):
        api.run(spec, out=tmp_path, engine=Remote("dying"), console=QUIET)
    assert [each.state for each in read_standings([spec], tmp_path)] == ["waiting"]  # nothing of it was begun
    RunFolder.of(tmp_path, spec).describe(spec)
    with pytest.raises(SaltusError):
        api.run(spec, out=tmp_path, engine=Remote("dying"), console=QUIET)
    [standing] = read_standings([spec], tmp_path)
    assert (standing.state, "its machine is gone" in standing.failure) == ("failed", True)


def test_a_student_is_sent_after_its_teacher_has_come_back(tmp_path: Path) -> None:
    teacher = make("teacher")
    student = make("student", intervention=DistillationSpec(teacher=teacher.run_id, checkpoints=(12,)))
    remote = Remote()
    api.run_all([student, teacher], out=tmp_path, engine=remote, console=QUIET)
    assert remote.done == [["teacher"], ["student"]]


def test_what_was_written_to_another_disk_is_not_taken_for_done(tmp_path: Path) -> None:
    class Elsewhere(Remote):
        def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
            for outcome in super().run(jobs):
                shutil.rmtree(tmp_path)
                yield outcome

    with pytest.raises(SaltusError, match=r"its job is done, and .* is not finished here; give all machines the same"):
        api.run(make("away"), out=tmp_path, engine=Elsewhere(), console=QUIET)


def test_the_estimate_is_by_finished_runs_or_by_what_is_assumed(tmp_path: Path, in_this_process: None) -> None:
    small, large = make("small", 16), make("large", 64)
    work = {spec.name: count_flops(spec) * spec.seeds * spec.training.steps for spec in (small, large)}
    plan = plan_runs([small, large], tmp_path, Remote(slots=2))
    assert [[spec.name for spec in job] for job in plan.jobs] == [["small"], ["large"]]
    assert plan.device_seconds == pytest.approx(sum(work.values()) / CORE_FLOPS)
    assert plan.seconds == pytest.approx(work["large"] / CORE_FLOPS)  # the longest job
    assert tell_plan(plan).startswith("2 jobs of 2 runs, ")
    assert "a process on a CPU is assumed to do 20 GFLOP/s: no run is finished on cpu" in tell_plan(plan)
    api.run(small, out=tmp_path, device="cpu", processes=2, console=QUIET)
    folder = RunFolder.of(tmp_path, small)
    took = folder.summary()["seconds"]
    assert folder.summary()["processes"] == 2
    plan = plan_runs([small, large], tmp_path, Remote(slots=2))
    assert plan.device_seconds == pytest.approx(work["large"] / (work["small"] / took / 2))
    assert "as fast as in the 1 runs finished on cpu" in tell_plan(plan)


def test_a_wave_is_no_shorter_than_its_slots_allow() -> None:
    spec = make("cell")
    rate = Rate("cpu", [(log(count_flops(spec)), count_flops(spec) * 24.0)], Path("runs"))  # a run takes a second
    assert Plan([[[spec]] * 6], rate, 1, 4).seconds == pytest.approx(1.5)
    assert Plan([[[spec]] * 6], rate, 1, None).seconds == pytest.approx(1.0)
    assert Plan([[[spec]] * 6, [[spec, spec]]], rate, 2, 4).seconds == pytest.approx(0.75 + 1.0)


def test_a_plan_sends_nothing(saltus: Saltus, tmp_path: Path) -> None:
    study, out = tmp_path / "study.py", tmp_path / "out"
    study.write_text(
        f"from saltus import *\n\nstudy = Study(cells=[Cell(run=RunSpec(**{make('one').model_dump()!r}))])\n"
    )
    asked = ("run", study, "--out", out, "--device", "cpu", "--plan")
    for more in ((), ("--engine", "slurm", "--slurm", "cluster=local")):
        code, said, error = saltus(*asked, *more)
        assert (code, error) == (0, "")
        assert "1 jobs of 1 runs, 0.00 hours of a device at most" in " ".join(said.split())
        assert not list(out.glob("*/spec.json"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ("--slurm", "timeout_min=9"),
            "slurm: 'timeout_min=9' was given, and the engine is 'local'; add --engine slurm",
        ),
        (("--engine", "slurm", "--slurm", "timeout_min"), "slurm: 'timeout_min' was given; write NAME=VALUE"),
        (("--engine", "slurm", "--slurm", "cluster=local", "--slurm", "queue=9"), "submitit refuses it: "),
        (
            ("--engine", "slurm", "--device", "auto"),
            "device: 'auto' was given; what Slurm's machines have is not known",
        ),
    ],
)
def test_what_cannot_be_sent_is_said(saltus: Saltus, tmp_path: Path, given: tuple[str, ...], told: str) -> None:
    study = tmp_path / "study.py"
    study.write_text(
        f"from saltus import *\n\nstudy = Study(cells=[Cell(run=RunSpec(**{make('one').model_dump()!r}))])\n"
    )
    code, _, error = saltus("run", study, "--out", tmp_path / "out", "--device", "cpu", *given)
    assert (code, told in " ".join(error.split())) == (2, True), error


@dataclass(frozen=True)
class Where:
    """A job that says where it is done."""

    names: tuple[str, ...] = ("here",)

    def perform(self, console: Console) -> Outcome:
        return Outcome(left=[Path.cwd()])


def test_a_job_is_done_where_it_was_sent_from_or_the_missing_disk_is_told(tmp_path: Path) -> None:
    before = Path.cwd()
    assert perform(Where(), tmp_path) == Outcome(left=[tmp_path])
    assert Path.cwd() == before
    told = perform(Where(), tmp_path / "gone").failed["here"]
    assert told == f"{tmp_path / 'gone'} is not on the machine that was to work there; give it the same disk"
