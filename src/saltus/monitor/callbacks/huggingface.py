"""A monitor as a callback of transformers' Trainer."""

from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from saltus.monitor.monitor import Monitor


class MonitorCallback(TrainerCallback):
    """Measures at the beginning, after every update and at the end.

    The loss is what the Trainer logs, the mean since it logged last: it hands no other to its callbacks.
    """

    def __init__(self, monitor: "Monitor") -> None:
        self._monitor = monitor

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure before the first update, or go on."""
        self._follow(state, kwargs["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure if it is due; where the Trainer is about to log, when it has told the loss of this step."""
        if not control.should_log:
            self._follow(state, kwargs["model"])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Measure if it is due, with the loss that is told now; other logs are none of training."""
        if logs and "loss" in logs:
            self._follow(state, kwargs["model"], logs["loss"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the last step and close the monitor; the Trainer may have loaded the best checkpoint by now."""
        loaded = args.load_best_model_at_end and state.best_model_checkpoint is not None
        self._monitor.close(measure=not loaded or state.best_global_step == state.global_step)

    def _follow(self, state: TrainerState, model: nn.Module, loss: float | None = None) -> None:
        if state.is_world_process_zero:
            self._monitor.step(state.global_step, model, loss=loss)
