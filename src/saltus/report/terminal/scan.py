"""What a person sees while a suite is scanned: a live display on a terminal or in a notebook, plain lines elsewhere.

It keeps the time as well: how long was spent fetching, loading, measuring, and on everything else.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from saltus.lm.suites.base import Run
from saltus.report.terminal.display import Display

Phase = Literal["fetch", "load", "measure", "other"]


_BETWEEN_LINES = 2.0
"""Seconds between two lines about checkpoints, where there is no terminal."""
_BETWEEN_COUNTS = 10.0
"""Seconds without a line, after which one says how far a checkpoint is."""


class ScanView(Display):
    """Watches one scan; a listener of it."""

    def __init__(self, name: str, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, "runs")
        self._name, self._clock = name, clock
        self._seconds: dict[Phase, float] = {"fetch": 0.0, "load": 0.0, "measure": 0.0, "other": 0.0}
        self._phase: Phase = "other"
        self._since = clock()
        self._said = self._heard = self._since
        self._place = ""
        self._loaded = self._missing = self._measured = self._runs = 0
        self._task = self._bar.add_task(f"{name}: preparing", total=None)

    def started(self, runs: int) -> None:
        """So many runs are to be scanned."""
        self._move(self._task, total=runs, description=self._name)
        self._say(f"{self._name}: scanning {runs} runs")

    def resumed(self, run: Run, measured: int) -> None:
        """So many checkpoints of the run were measured by an earlier call."""
        self._measured += measured
        self._say(f"{self._name}: {run} resumed after {measured} checkpoints")

    def fetching(self, run: Run, step: int) -> None:
        """A checkpoint is brought here."""
        self._enter("fetch")
        self._show(f"{run} step {step}: fetching")

    def loading(self, run: Run, step: int) -> None:
        """It is read into memory."""
        self._enter("load")
        self._show(f"{run} step {step}: loading")

    def measuring(self, run: Run, step: int) -> None:
        """It is asked the prompts."""
        self._enter("measure")
        self._loaded += 1
        self._place = f"{run} step {step}"
        self._show(f"{self._place}: measuring")

    def asked(self, done: int, total: int) -> None:
        """So many of all sequences were asked; said where that takes long."""
        now = self._clock()
        if now - self._heard < _BETWEEN_LINES:
            return
        self._heard = now
        self._show(f"{self._place}: {done:,} of {total:,} sequences asked")
        if not self._live and now - max(self._said, self._since) >= _BETWEEN_COUNTS:
            self._said = now
            self._say(f"{self._name}: {self._place}: {done:,} of {total:,} sequences asked")

    def measured(self, run: Run, step: int, solved: NDArray[np.bool_]) -> None:
        """It answered, [unit]."""
        self._enter("other")
        self._measured += 1
        text = f"{run} step {step}: {int(solved.sum())} of {len(solved)} units solved"
        self._show(text)
        if not self._live and self._since - self._said >= _BETWEEN_LINES:
            self._said = self._since
            self._say(f"{self._name}: {text}")

    def missing(self, run: Run, step: int, reason: str) -> None:
        """It cannot be measured."""
        self._enter("other")
        self._missing += 1
        self._say(f"{self._name}: {run} step {step} is left out: {reason}")

    def finished_run(self, run: Run) -> None:
        """The strategy has no more questions about the run."""
        self._runs += 1
        self._move(self._task, completed=self._runs)
        spent = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in self.account()["seconds"].items())
        self._say(f"{self._name}: {run} is done; {self._measured} checkpoints measured so far ({spent})")

    def account(self) -> dict[str, Any]:
        """Checkpoints loaded and missing since this display began, and the seconds of each phase."""
        self._enter(self._phase)
        seconds = {phase: round(spent, 3) for phase, spent in self._seconds.items()}
        return {"checkpoints_loaded": self._loaded, "checkpoints_missing": self._missing, "seconds": seconds}

    def _enter(self, phase: Phase) -> None:
        """Book the time since the last call, and begin a phase."""
        now = self._clock()
        self._seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now

    def _show(self, text: str) -> None:
        self._move(self._task, description=f"{self._name}: {text}")
