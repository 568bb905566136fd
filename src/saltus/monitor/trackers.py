"""Other people's trackers, as far as they are handed in: wandb, TensorBoard, trackio. None of them is imported."""

from collections.abc import Mapping
from typing import Any, Protocol

from saltus.errors import SaltusError

PREFIX = "saltus/"
STEP = f"{PREFIX}step"
"""The axis of all that is logged: the step of the training."""


class Tracker(Protocol):
    """Takes numbers on, with their step, which need not be larger than the one before."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log `numbers` by name."""
        ...


def adapt(tracker: object) -> Tracker:
    """The tracker behind the module wandb or trackio, one of their runs, or a SummaryWriter.

    Raises:
        SaltusError: if it is something else.

    """
    if hasattr(tracker, "add_scalar"):
        return _TensorBoard(tracker)
    if hasattr(tracker, "define_metric"):
        return _Wandb(tracker)
    if hasattr(tracker, "log"):
        return _Trackio(tracker)
    raise SaltusError(
        f"trackers: {type(tracker).__name__} was given; allowed are the modules wandb and trackio, a run of one of "
        "them, and a SummaryWriter"
    )


class _TensorBoard:
    """Each number has its step, in any order."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(f"{PREFIX}{name}", value, global_step=step)
        self._writer.flush()


class _Trackio:
    """Takes steps in any order."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._tracker.log({STEP: step, **_name(numbers)}, step=step)


class _Wandb:
    """Drops, with no more than a warning, whatever has a smaller step than the row that it has written last.

    So numbers are added, without a step of wandb's, to the row that waits for the training's own next log, and have an
    axis of their own. Where the training has not logged since, the row that waits is written first.
    """

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self._defined: object = None
        self._waiting: int | None = None

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        run = getattr(self._tracker, "run", self._tracker)  # of the module: None until wandb.init
        if run is None:
            raise SaltusError("trackers: wandb has no run; call wandb.init before the training")
        if run is not self._defined:
            run.define_metric(STEP)
            run.define_metric(f"{PREFIX}*", step_metric=STEP)
            self._defined, self._waiting = run, None
        if self._waiting == run.step:
            run.log({}, commit=True)
        run.log({STEP: step, **_name(numbers)}, commit=False)
        self._waiting = run.step


def _name(numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"{PREFIX}{name}": value for name, value in numbers.items()}
