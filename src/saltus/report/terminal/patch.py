"""What a person sees while heads are patched: how much is done, and how long the rest will take."""

import time
from collections.abc import Callable

from rich.console import Console

from saltus.report.html.labels import plural
from saltus.report.terminal.display import Display

_BETWEEN_LINES = 10.0
"""Seconds between two lines, where there is no terminal."""


class PatchView(Display):
    """Watches one patch; a listener of it."""

    def __init__(self, name: str, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, "%")
        self._name, self._clock = name, clock
        self._since = clock()
        self._said: float | None = None
        self._heard = 0
        self._done = self._kept = self._ahead = 0.0  # work: done by this call, done before it, still to be done
        self._all: tuple[float, int, int] | None = None  # work of all heads, measured exactly, heads
        self._task = self._bar.add_task(f"{name}: preparing", total=100)

    def planned(self, ahead: float, everything: float, exact: int, heads: int) -> None:
        """So much work is ahead, if `exact` of the `heads` are measured, and `everything` if all of them are."""
        self._ahead, self._all = ahead, (everything, exact, heads)

    def worked(self, unit: str, work: float) -> None:
        """A unit was measured."""
        self._done += work
        self._ahead = max(self._ahead - work, 0.0)
        self._heard += 1
        first, now = self._heard == 2, self._clock()  # the first pass reads the weights into the caches, and is slow
        left = f"about {_name_time(self._estimate(self._ahead))} left"
        share = 100 * (self._done + self._kept) / max(self._done + self._kept + self._ahead, 1.0)
        self._move(self._task, completed=int(share), description=f"{self._name}: {unit}, {left}")
        if first:
            self._say(f"{self._name}: {self._describe_plan()}")
        elif not self._live and self._said is not None and now - self._said >= _BETWEEN_LINES:
            self._say(f"{self._name}: {share:.0f}% done, {left}")
        else:
            return
        self._said = now

    def spared(self, work: float) -> None:
        """Work that was planned is not needed, or was done by an earlier call."""
        self._kept += work
        self._ahead = max(self._ahead - work, 0.0)

    def _estimate(self, work: float) -> float:
        """Seconds, at the speed so far."""
        return (self._clock() - self._since) * work / self._done

    def _describe_plan(self) -> str:
        if self._all is None:
            return "patching"
        everything, exact, heads = self._all
        text = f"screening {plural(heads, 'head')}, then {exact} of them exactly; at most about "
        text += _name_time(self._estimate(self._ahead))
        if exact < heads:
            text += f"; all of them exactly (--exact 0) would take about {_name_time(self._estimate(everything))}"
        return text


def _name_time(seconds: float) -> str:
    """Such as `40 s`, `3 min` or `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
