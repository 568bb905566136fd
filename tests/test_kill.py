"""A run that is killed at any moment and started again ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.tasks.build import read_facts
from saltus.train.ensemble import Ensemble, Member
from saltus.train.folder import RunFolder
from saltus.train.loop import Job, check_checkpoints, find_behind, train
from saltus.train.measures import MEASURES

Saltus = Callable[..., tuple[int, str, str]]

PATIENCE = 300.0
"""Seconds after which something that does not happen counts as not happening; nothing is timed by it."""

SPEC = RunSpec(
    name="killed",
    task=LinearMapSpec(size=6, sparsity=1),
    model=TransformerSpec(d_model=16, heads=2),
    training=TrainingSpec(
        steps=400,
        batch_sequences=16,
        compile=False,
        learning_rate=0.005,
        warmup=10,
        evaluation_sequences=32,
        evaluate=ScheduleSpec(every=4),
        snapshot=ScheduleSpec(every=8),
        checkpoint=ScheduleSpec(every=4),
        stop_when_solved=True,
    ),
    seeds=3,
)
"""It solves its task after about 100 steps, well before its budget."""


def assert_equal_runs(one: RunFolder, other: RunFolder) -> None:
    """Tables, patterns, every checkpoint's weights and the last step, to the last bit."""
    first, second = one.records(), other.records()
    for name in (measure.name for measure in MEASURES):
        a, b = first.tables[name], second.tables[name]
        assert a.schema == b.schema
        for column, values, expected in zip(a.column_names, a.columns, b.columns, strict=True):
            assert_array_equal(values.to_numpy(), expected.to_numpy(), err_msg=f"{name}.{column}")
    assert_array_equal(first.snapshots.steps, second.snapshots.steps)
    assert_array_equal(first.snapshots.attention, second.snapshots.attention)
    assert one.checkpoint_steps() == other.checkpoint_steps()
    for step in one.checkpoint_steps():
        for seed in range(first.spec.seeds):
            if step not in one.checkpoint_steps(seed):
                assert step not in other.checkpoint_steps(seed)
                continue
            weights, expected = one.weights(step, seed), other.weights(step, seed)
            assert weights.keys() == expected.keys()
            for name, value in weights.items():
                assert_array_equal(value, expected[name], err_msg=f"{name} of seed {seed} at step {step}")
    assert one.summary()["last_step"] == other.summary()["last_step"] == one.checkpoint_steps()[-1]


# --- from outside ------------------------------------------------------------------------------------------------


class Started:
    """`saltus run` in a process group of its own."""

    def __init__(self, study: Path, out: Path) -> None:
        self._streams = study.with_suffix(".out").open("w+"), study.with_suffix(".err").open("w+")
        command = [sys.executable, "-m", "saltus", "run", str(study), "--out", str(out), "--device", "cpu"]
        self.process = subprocess.Popen(
            command,
            stdout=self._streams[0],
            stderr=self._streams[1],
            start_new_session=True,
            # Tests that a shell runs in the background inherit a SIGINT that is ignored; a terminal's programs do not.
            preexec_fn=_heed_interrupts,
        )
        self.folder = RunFolder(out / SPEC.run_id)

    def wait_for_step(self, step: int) -> None:
        def there() -> bool:
            assert self.process.poll() is None, f"it ended before step {step}: {self.output()}"
            return any(done >= step for done in self.folder.checkpoint_steps())

        wait_until(there)

    def workers(self) -> list[int]:
        """The processes that train."""
        found: list[int] = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = status.read_text().rpartition(")")[2].split()[1]
                command = (status.parent / "cmdline").read_text()
            except OSError:  # it ended meanwhile
                continue
            if int(parent) == self.process.pid and "spawn_main" in command:
                found.append(int(status.parent.name))
        return found

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def output(self) -> tuple[str, str]:
        """What it wrote, and what it wrote of errors."""
        return Path(self._streams[0].name).read_text(), Path(self._streams[1].name).read_text()

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def started(study: Path, out: Path) -> Generator[Started, None, None]:
    run = Started(study, out)
    try:
        yield run
    finally:
        run.close()


@pytest.fixture
def unbroken(saltus: Saltus, in_this_process: None, tmp_path: Path) -> RunFolder:
    """The same run without interruption, in another folder and in this process alone."""
    code, _, error = saltus("run", write_study(tmp_path / "unbroken.py"), "--out", tmp_path / "unbroken")
    assert (code, error) == (0, "")
    return RunFolder(tmp_path / "unbroken" / SPEC.run_id)


def write_study(path: Path) -> Path:
    path.write_text(f"from saltus import *\n\nstudy = Study(cells=[Cell(run=RunSpec(**{SPEC.model_dump()!r}))])\n")
    return path


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes that train through /proc (Linux)")
def test_run_that_is_ended_in_every_way_is_the_run_that_was_not(
    unbroken: RunFolder, saltus: Saltus, tmp_path: Path
) -> None:
    """One run, ended three times at later and later moments; one test, because each start takes seconds."""
    study, out = write_study(tmp_path / "study.py"), tmp_path / "broken"

    # The process that writes is killed, as by a loss of power: those that train end by themselves.
    with started(study, out) as run:
        run.wait_for_step(1)
        workers = run.workers()
        assert len(workers) == min(SPEC.seeds, len(os.sched_getaffinity(0)))
        run.process.kill()
        assert run.wait() == -signal.SIGKILL
        wait_until(lambda: not any(map(lives, workers)))
        assert "Traceback" not in run.output()[1]
    assert not run.folder.finished

    # A process that trains is killed, as by a lack of memory: one sentence, code 2, and the others end too.
    with started(study, out) as run:
        run.wait_for_step(20)
        workers = run.workers()
        os.kill(workers[-1], signal.SIGKILL)
        assert run.wait() == 2
        output, errors = run.output()
        assert "killed: resumed at step" in output
        assert errors.startswith("error: a process that trained 1 seed(s) ended with code -9 ")
        assert "ended with code -9" in errors
        assert errors.count("\n") == 1
        assert not any(map(lives, workers))
    assert list(out.rglob("*.partial")) == []
    assert not run.folder.finished

    # Ctrl-C, which a terminal sends to the whole group.
    with started(study, out) as run:
        run.wait_for_step(36)
        workers = run.workers()
        os.killpg(run.process.pid, signal.SIGINT)
        assert run.wait() == 130
        output, errors = run.output()
        assert errors == "interrupted; run the same command again to resume from the last checkpoint\n"
        assert not any(map(lives, workers))
    assert list(out.rglob("*.partial")) == []
    assert not run.folder.finished
    stopped_at = run.folder.checkpoint_steps()[-1]

    # The last part in this process: a seed is the same run whoever it trains with.
    code, output, error = saltus("run", study, "--out", out, "--device", "cpu")
    assert (code, error) == (0, "")
    assert f"killed: resumed at step {stopped_at}\n" in output
    assert run.folder.finished
    assert 36 < run.folder.summary()["last_step"] < SPEC.training.steps
    assert_equal_runs(run.folder, unbroken)


# --- from inside: cheaper, and at chosen moments -----------------------------------------------------------------


class Interruption(Exception):  # noqa: N818 - it is no error
    pass


class Interrupter:
    """Listens to the training loop and ends it at chosen steps, each once."""

    def __init__(self, *moments: int) -> None:
        self._moments = sorted(moments)
        self.resumptions: list[int] = []
        self.heard: list[int] = []

    def resumed(self, step: int) -> None:
        self.resumptions.append(step)

    def advanced(self, step: int) -> None:
        self.heard.append(step)
        if self._moments and step >= self._moments[0]:
            del self._moments[0]
            raise Interruption

    def evaluated(self, run: int, step: int, progress: Mapping[int, NDArray[np.float64]]) -> None: ...


def with_training(spec: RunSpec, **values: object) -> RunSpec:
    return RunSpec.model_validate(spec.model_dump() | {"training": spec.training.model_dump() | values})


def train_through(spec: RunSpec, folder: RunFolder, listener: Interrupter, *, finish: bool = True) -> int:
    """Start the run again after each interruption, always with a new ensemble; the last step."""
    torch.set_num_threads(1)
    facts = read_facts(spec)
    ended: list[int] = []

    def end(run: int) -> None:
        ended.append(folder.checkpoint_steps()[-1])
        if finish:
            folder.finish({"last_step": ended[0]})

    while not ended:
        with folder.training(spec, facts):
            _, seeds = find_behind(folder, spec)
            if not seeds:
                check_checkpoints(folder, spec)
                end(0)
                continue
            ensemble = Ensemble([spec], [Member(0, seed) for seed in seeds], torch.device("cpu"), stacked=False)
            try:
                train([Job(spec, folder, facts, seeds)], ensemble, listener, end)
            except Interruption:
                continue
    return ended[0]


@pytest.mark.parametrize(
    ("training", "resumptions"),
    [
        pytest.param({}, [2, 20, 30], id="to the budget"),
        pytest.param({"snapshot": {"every": 100, "factor": 100}}, [2, 20, 30], id="checkpoints denser than snapshots"),
        pytest.param({"checkpoint": {"every": 25, "factor": 100}}, [1, 1, 25], id="checkpoints rarer than evaluations"),
        pytest.param({"decay": "cosine", "warmup": 30}, [2, 20, 30], id="a learning rate that changes"),
    ],
)
def test_resumption_changes_nothing(
    tiny: RunSpec, tmp_path: Path, training: dict[str, object], resumptions: list[int]
) -> None:
    spec = with_training(tiny, **training)
    unbroken, broken = (RunFolder(tmp_path / name / spec.run_id) for name in ("unbroken", "broken"))
    listener = Interrupter(3, 22, 40)
    assert train_through(spec, unbroken, Interrupter()) == 40
    assert train_through(spec, broken, listener) == 40
    assert listener.resumptions == resumptions
    assert_equal_runs(broken, unbroken)


def test_run_killed_between_its_last_checkpoint_and_its_end(tiny: RunSpec, tmp_path: Path) -> None:
    spec = RunSpec.model_validate(tiny.model_dump() | {"emergence": {"threshold": 1e-6, "hold": 3}, "seeds": 1})
    spec = with_training(spec, stop_when_solved=True, steps=400, learning_rate=0.01, warmup=1)
    folder = RunFolder(tmp_path / spec.run_id)
    last = train_through(spec, folder, Interrupter(), finish=False)
    assert 2 <= last < 400
    assert folder.checkpoint_steps()[-1] == last
    steps = folder.records().evaluated_steps
    progress = folder.records().cube("units", "progress")  # [seed, evaluation, unit]
    held = [bool((progress[:, i - 2 : i + 1] >= 1e-6).all()) for i in range(2, len(steps))]
    assert held.index(True) == len(held) - 1  # the first time that it held is the last step
    assert steps[-1] == last
    listener = Interrupter()
    assert train_through(spec, folder, listener) == last
    assert (listener.resumptions, listener.heard) == ([], [])
    assert folder.summary()["last_step"] == last


def test_checkpoint_that_is_gone_is_not_passed_over(tiny: RunSpec, tmp_path: Path) -> None:
    """Its rows would be missing from the records, in silence."""
    folder = RunFolder(tmp_path / tiny.run_id)
    train_through(tiny, folder, Interrupter(), finish=False)
    assert folder.checkpoint_steps() == list(tiny.training.checkpoint.list_steps(40))
    (folder.path / "checkpoints" / "00000010").rename(tmp_path / "elsewhere")
    with pytest.raises(SaltusError, match=r"the checkpoint of step 10 is gone.*put it back"):
        train_through(tiny, folder, Interrupter())
    (tmp_path / "elsewhere").rename(folder.path / "checkpoints" / "00000010")
    assert train_through(tiny, folder, Interrupter()) == 40
