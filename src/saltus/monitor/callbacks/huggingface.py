"""A monitor as a callback of transformers' Trainer."""

from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from saltus.monitor.monitor import Monitor


class MonitorCallback(TrainerCallback):
    """Measures at the beginning, after every update and at the end.

    The loss is what the Trainer logs, every `logging_steps`: it hands no other to its callbacks.
    """

    def __init__(self, monitor: "Monitor") -> None:
        self._monitor = monitor
        self._loss: float | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure before the first update, or go on."""
        self._follow(state, kwargs["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure if it is due."""
        self._follow(state, kwargs["model"])

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the loss until the next step."""
        self._loss = (logs or {}).get("loss", self._loss)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the last step and close the monitor."""
        self._monitor.close()

    def _follow(self, state: TrainerState, model: nn.Module) -> None:
        if state.is_world_process_zero:
            self._monitor.step(state.global_step, model, loss=self._loss)
            self._loss = None
