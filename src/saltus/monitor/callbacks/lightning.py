"""A monitor as a callback of Lightning's Trainer. Lightning is imported only if it is asked for."""

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from saltus.errors import SaltusError

if TYPE_CHECKING:
    from saltus.monitor.monitor import Monitor

_PACKAGES = ("lightning", "pytorch_lightning")
"""The names under which Lightning is installed, whose callbacks the other one's Trainer refuses."""


def make_callback(monitor: "Monitor") -> Any:
    """A `lightning.pytorch.Callback` that measures at the beginning, after every batch and at the end.

    Raises:
        SaltusError: if Lightning is not installed.

    """
    there = [name for name in _PACKAGES if name in sys.modules] or [name for name in _PACKAGES if find_spec(name)]
    if not there:
        raise SaltusError("Lightning is not installed; install it (pip install lightning), or call monitor.step")
    base: Any = import_module("lightning.pytorch" if there[0] == "lightning" else there[0]).Callback

    class MonitorCallback(base):  # its own class, since the base is known only here
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            monitor.step(trainer.global_step, pl_module)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if loss is not None:  # Lightning has divided it by the number of parts of an update
                loss = loss * trainer.accumulate_grad_batches
            monitor.step(trainer.global_step, pl_module, loss=loss)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            monitor.close()

    return MonitorCallback()
