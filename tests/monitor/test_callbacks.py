"""Callbacks: what the trainers call, in their order, without the trainers."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.monitor.test_monitor import Known, watch_known
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from saltus.errors import SaltusError
from saltus.monitor import Monitor


def drive_trainer(
    monitor: Monitor, model: nn.Module, first: int, last: int, *, zero: bool = True, logs: int = 5
) -> None:
    """As the Trainer calls its callbacks: its own first, by which it logs the mean loss of so many steps, after one."""
    arguments: Any = TrainingArguments(logging_steps=logs, use_cpu=True, save_strategy="no", report_to=[])
    state = TrainerState(is_world_process_zero=zero, global_step=first, logging_steps=logs, max_steps=100)
    control = TrainerControl()
    handler = CallbackHandler([DefaultFlowCallback(), monitor.callback()], model, None, None, None)
    handler.on_init_end(arguments, state, control)
    handler.on_train_begin(arguments, state, control)
    handler.on_epoch_begin(arguments, state, control)
    for step in range(first + 1, last + 1):
        handler.on_step_begin(arguments, state, control)
        handler.on_substep_end(arguments, state, control)
        handler.on_pre_optimizer_step(arguments, state, control)
        handler.on_optimizer_step(arguments, state, control)
        state.global_step = step
        handler.on_step_end(arguments, state, control)
        if control.should_log:
            handler.on_log(arguments, state, control, {"loss": float(step)})
            handler.on_log(arguments, state, control, {"eval_loss": 7.0})
            handler.on_save(arguments, state, control)
            handler.on_evaluate(arguments, state, control, {})
    handler.on_epoch_end(arguments, state, control)
    handler.on_train_end(arguments, state, control)


@pytest.mark.parametrize(
    ("logs", "losses"),
    [
        (5, [None, None, None, None, 5.0, 10.0, None, 15.0, 20.0, None]),
        (3, [None, None, None, 3.0, None, 7.5, 12.0, 15.0, 18.0, 21.0]),  # 6 and 9 before 10
    ],
)
def test_the_trainer_of_transformers_is_followed_and_resumed(
    tmp_path: Path, logs: int, losses: Sequence[float | None]
) -> None:
    model = Known()
    assert isinstance(watch_known(tmp_path / "none").callback(), TrainerCallback)
    drive_trainer(watch_known(tmp_path), model, 0, 12, logs=logs)
    monitor = watch_known(tmp_path)
    drive_trainer(monitor, model, 12, 22, logs=logs)
    rows = monitor.folder.rows()
    assert [row.step for row in rows] == [0, 1, 2, 4, 5, 10, 12, 15, 20, 22]
    assert [row.loss for row in rows] == losses
    assert monitor.folder.finished


@pytest.mark.parametrize(("best", "steps"), [(4, [0, 1, 2, 4, 5]), (7, [0, 1, 2, 4, 5, 7])])
def test_weights_that_the_trainer_takes_back_at_the_end_are_not_those_of_the_last_step(
    best: int, steps: list[int], tmp_path: Path
) -> None:
    """With load_best_model_at_end it loads another checkpoint before it says that the training has ended."""
    monitor, model = watch_known(tmp_path), Known()
    callback = monitor.callback()
    arguments: Any = TrainingArguments(use_cpu=True, report_to=[])
    arguments.load_best_model_at_end = True
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    callback.on_train_begin(arguments, state, control, model=model)
    for step in range(1, 8):
        state.global_step = step
        callback.on_step_end(arguments, state, control, model=model)
    state.best_global_step, state.best_model_checkpoint = best, f"out/checkpoint-{best}"
    callback.on_train_end(arguments, state, control, model=model)
    assert [row.step for row in monitor.folder.rows()] == steps
    assert monitor.folder.finished


def test_other_processes_of_the_trainer_do_nothing(tmp_path: Path) -> None:
    drive_trainer(watch_known(tmp_path / "none"), Known(), 0, 3, zero=False)
    assert not (tmp_path / "none").exists()


@dataclass
class FakeTrainer:
    global_step: int = 0
    accumulate_grad_batches: int = 2


def test_the_trainer_of_lightning_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Callback:
        pass

    lightning, inner = ModuleType("lightning"), ModuleType("lightning.pytorch")
    inner.Callback = Callback  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", lightning)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", inner)
    monitor, model, trainer = watch_known(tmp_path), Known(), FakeTrainer()
    callback: Any = monitor.lightning_callback()
    assert Callback in type(callback).__mro__
    callback.on_train_start(trainer, model)
    for batch in range(1, 13):  # two parts of each update; Lightning counts updates, and has halved the losses
        trainer.global_step = batch // 2
        callback.on_train_batch_end(trainer, model, {"loss": torch.tensor(batch / 2.0)}, None, batch)
    callback.on_train_end(trainer, model)
    rows = monitor.folder.rows()
    assert [row.step for row in rows] == [0, 1, 2, 4, 5, 6]
    assert rows[1].loss == 1.5  # the first part, before its update was done, and the second
    assert monitor.folder.finished


def test_without_lightning_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saltus.monitor.callbacks.lightning._PACKAGES", ("no_such_package",))
    with pytest.raises(SaltusError, match="Lightning is not installed"):
        watch_known(tmp_path).lightning_callback()
