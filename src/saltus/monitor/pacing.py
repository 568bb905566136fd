"""When a probe is due: on a schedule, as long as probes cost no more than their share of the training time."""

from collections.abc import Callable

from saltus.specs.training import ScheduleSpec

Clock = Callable[[], float]
"""Seconds from any origin."""


class Pace:
    """Keeps the time of training and of probes, and says when the next probe is due.

    A probe waits until all probes so far, and one as long as the last, take at most `at_most` of the training time.
    The first one, whose cost is not known, does not wait.
    """

    def __init__(self, schedule: ScheduleSpec, at_most: float | None, clock: Clock) -> None:
        self._schedule, self._at_most, self._clock = schedule, at_most, clock
        self.training = 0.0
        """Seconds of training, without those of probes."""
        self.spent = 0.0
        """Seconds of probes."""
        self._cost: float | None = None
        self._due = 0
        self._since: float | None = None

    def resume(self, step: int, training: float, spent: float) -> None:
        """Go on after the probe at `step`, with the seconds of earlier sessions."""
        self._due = self._follow(step)
        self.training, self.spent = training, spent

    def rewind(self, step: int) -> None:
        """A probe is due again at `step`."""
        self._due = step

    def is_due(self, step: int) -> bool:
        """Book the time since the last call as training; whether `step` is to be probed."""
        self.book_training()
        if step < self._due:
            return False
        if self._at_most is None or self._cost is None:
            return True
        return self.spent + self._cost <= self._at_most * self.training

    def book_training(self) -> None:
        """Book the time since the last call as that of the training."""
        self.training += self._measure_lap()

    def start_probe(self) -> None:
        """Book the time since the last call as that of the training; what follows is a probe."""
        self.book_training()
        self._cost = 0.0

    def end_probe(self, step: int) -> None:
        """Book the time since the last call as that of a probe at `step`, which is then done."""
        self.book_probe()
        self._due = self._follow(step)

    def book_probe(self) -> None:
        """Book the time since the last call as that of the last probe."""
        seconds = self._measure_lap()
        self.spent += seconds
        self._cost = (self._cost or 0.0) + seconds

    def _measure_lap(self) -> float:
        """Seconds since the last call; 0 at the first."""
        now = self._clock()
        seconds = 0.0 if self._since is None else now - self._since
        self._since = now
        return seconds

    def _follow(self, step: int) -> int:
        """The first scheduled step after `step`."""
        every = self._schedule.every
        if step >= every:
            return (step // every + 1) * every
        return next(later for later in self._schedule.generate_steps() if later > step)
