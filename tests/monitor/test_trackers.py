"""What trackers are told, by fakes that drop what the real ones drop."""

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.monitor.test_monitor import Known, watch_known
from tests.monitor.trainings import Clock, be_quiet, said

from saltus.monitor.trackers import STEP, adapt


class FakeRun:
    """A run of wandb: one row waits for each step, logging a later step writes it, a smaller one is dropped."""

    def __init__(self) -> None:
        self.step = 0
        self.rows: list[dict[str, Any]] = []
        self.dropped: list[dict[str, Any]] = []
        self.axes: dict[str, str | None] = {}
        self._waiting: dict[str, Any] = {}

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        self.axes[name] = step_metric

    def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        if step is not None and step < self.step:
            self.dropped.append(data)
            return
        if step is not None and step > self.step:
            self._write()
            self.step = step
        self._waiting |= data
        if commit or (commit is None and step is None):
            self._write()
            self.step += 1

    def finish(self) -> None:
        self._write()

    def _write(self) -> None:
        if self._waiting:
            self.rows.append(self._waiting)
        self._waiting = {}


class FakeWandb:
    """The module, which has a run after `init`."""

    def __init__(self) -> None:
        self.run: FakeRun | None = None

    def define_metric(self, name: str) -> None:
        raise AssertionError("of the run, not of the module")


@pytest.mark.parametrize("own_log", ["at its own steps", "one after the other", "never"])
def test_nothing_is_lost_in_wandb_and_nothing_of_the_training_s_own(own_log: str) -> None:
    wandb = FakeWandb()
    tracker = adapt(wandb)
    run = wandb.run = FakeRun()
    own = 0
    for step in [0, 5, 10, 15, 7, 8, 20]:  # it went back once
        if own_log != "never":
            run.log({"lr": own}, step=3 * own if own_log == "at its own steps" else None)
            own += 1
        tracker.log(step, {"induction": step / 100.0})
    run.finish()
    assert run.dropped == []
    assert [row[STEP] for row in run.rows if STEP in row] == [0, 5, 10, 15, 7, 8, 20]
    assert [row["saltus/induction"] for row in run.rows if STEP in row] == [0.0, 0.05, 0.1, 0.15, 0.07, 0.08, 0.2]
    assert [row["lr"] for row in run.rows if "lr" in row] == list(range(own))
    assert run.axes == {STEP: None, "saltus/*": STEP}


def test_wandb_without_a_run_is_said_once(tmp_path: Path) -> None:
    console = be_quiet()
    monitor = watch_known(tmp_path, trackers=[FakeWandb()], console=console)
    for step in range(20):
        monitor.step(step, Known())
    assert said(console).count("wandb has no run; call wandb.init before the training") == 1


class FakeWriter:
    """A SummaryWriter."""

    def __init__(self) -> None:
        self.written: list[tuple[str, float, int]] = []
        self.flushed = 0

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.written.append((tag, scalar_value, global_step))

    def flush(self) -> None:
        self.flushed += 1


class FakeTrackio:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.append((step, metrics))


def measure_norm(model: Any) -> float:
    return 3.0


def test_capabilities_patterns_numbers_and_loss_are_logged(tmp_path: Path) -> None:
    writer, trackio, model = FakeWriter(), FakeTrackio(), Known()
    monitor = watch_known(tmp_path, trackers=[writer, trackio], scalars={"norm": measure_norm}, clock=Clock())
    model.right, model.sharp = 0.5, 0.75
    monitor.step(0, model, loss=2.0)
    monitor.step(10, model, loss=float("nan"))
    monitor.step(5, model, loss=1.0)
    of_first = {"share": 0.5, "norm": 3.0, "induction": pytest.approx(0.75), "loss": 2.0}
    assert {tag.removeprefix("saltus/"): value for tag, value, step in writer.written if step == 0} == of_first
    assert writer.flushed == 3
    assert [step for step, _ in trackio.rows] == [0, 10, 5]
    assert trackio.rows[0][1] == {STEP: 0, **{f"saltus/{name}": value for name, value in of_first.items()}}
    assert "saltus/loss" not in trackio.rows[1][1]  # it was not finite


def test_nothing_is_told_to_a_tracker_that_was_not_handed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = FakeWandb()
    wandb.run = FakeRun()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    watch_known(tmp_path).step(0, Known())
    wandb.run.finish()
    assert wandb.run.rows == []
