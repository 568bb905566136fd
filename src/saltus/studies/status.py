"""How far a study has come and how long the rest will take, read from its folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table
from rich.text import Text

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.studies.flops import count_flops
from saltus.train.folder import RunFolder

State = Literal["finished", "failed", "being trained", "begun", "waiting"]


@dataclass(frozen=True)
class Standing:
    """Where one run stands."""

    spec: RunSpec
    state: State
    step: int
    """Of the newest checkpoint that all its seeds have, or its last."""
    seconds: float | None
    """What it took, if it is finished."""
    device: str | None
    """Where it was trained, if it is finished."""
    failure: str = ""
    """Why the last attempt ended, if it failed."""
    seed_steps: int | None = None
    """Steps of all its seeds together, if they are known."""
    left: int | None = None
    """Steps that its seeds may still take together; up to their budget from `step` on if None."""

    @property
    def work(self) -> float:
        """Floating-point operations that its steps so far have cost."""
        steps = self.spec.seeds * self.step if self.seed_steps is None else self.seed_steps
        return count_flops(self.spec) * steps

    @property
    def speed(self) -> float | None:
        """Operations a second, if it is finished and has trained at all."""
        return self.work / self.seconds if self.seconds and self.step else None

    @property
    def rest(self) -> float:
        """Operations that it may still cost: none if it is finished, otherwise up to its budget."""
        left = self.spec.seeds * max(0, self.spec.training.steps - self.step) if self.left is None else self.left
        return 0.0 if self.state == "finished" else count_flops(self.spec) * left


def read_standings(specs: Sequence[RunSpec], out: Path) -> list[Standing]:
    """Where each run stands under `out`."""
    return list(map(_read_standing, specs, RunFolder.of_all(out, specs)))


def estimate_left(standings: Sequence[Standing], device: str) -> float | None:
    """Seconds until all are done, by the runs that are finished on `device`; None if no run is.

    Small models do fewer operations a second than large ones, so a run is expected to be as fast as the finished ones
    that are nearest to it in the operations of a step.
    """
    speeds = list_speeds(standings, device)
    if not speeds:
        return None
    waiting = {s.spec.content_hash: s for s in standings if s.rest}  # what has several names is trained once
    return sum(s.rest / find_speed(speeds, log(count_flops(s.spec))) for s in waiting.values())


def summarise_progress(specs: Sequence[RunSpec], out: Path, device: str) -> str:
    """One line: how many runs are done, how many failed, and the time left."""
    standings = read_standings(specs, out)
    done, failed = (sum(s.state == state for s in standings) for state in ("finished", "failed"))
    if done == len(standings):
        return "the run is finished" if done == 1 else f"all {done} runs are finished"
    left = estimate_left(standings, device)
    rest = "no estimate before the first is finished" if left is None else f"about {_say_duration(left)} left"
    told = f"{done} of {len(standings)} runs are finished" + (f", {failed} failed" if failed else "")
    return f"{told}; {rest} on {device}"


def tabulate_status(specs: Sequence[RunSpec], out: Path) -> Table:
    """A line for each run."""
    table = Table("run", "seeds", "step", "of", "state", "seconds")
    for standing in read_standings(specs, out):
        table.add_row(
            Text(standing.spec.name),
            str(standing.spec.seeds),
            f"{min(standing.step, standing.spec.training.steps):,}",  # its folder may have more
            f"{standing.spec.training.steps:,}",
            Text(f"{standing.state}: {standing.failure}" if standing.failure else standing.state),
            "" if standing.seconds is None else f"{standing.seconds:,.0f}",
        )
    return table


def _read_standing(spec: RunSpec, folder: RunFolder) -> Standing:
    if folder.covers(spec):
        return stand_finished(spec, folder.summary())
    budget, failure = spec.training.steps, folder.failure
    try:
        newest = folder.newest()
    except SaltusError as error:  # one damaged checkpoint hides no other run
        return Standing(spec, "failed", 0, None, None, str(error))
    reached = [
        budget if (own := newest.get(seed)) and own.stopped else min(own.step if own else 0, budget)
        for seed in range(spec.seeds)
    ]
    step, left = min(reached), spec.seeds * budget - sum(reached)
    if folder.held:
        return Standing(spec, "being trained", step, None, None, left=left)
    if failure is not None:
        return Standing(spec, "failed", step, None, None, failure, left=left)
    return Standing(spec, "begun" if newest else "waiting", step, None, None, left=left)


def stand_finished(spec: RunSpec, summary: Mapping[str, Any]) -> Standing:
    """Where a run stands that its summary calls finished."""
    last, seconds, device, steps = (summary.get(name) for name in ("last_step", "seconds", "device", "seed_steps"))
    took = None if seconds is None else float(seconds)
    return Standing(spec, "finished", int(last or 0), took, device, seed_steps=steps)


def list_speeds(standings: Sequence[Standing], device: str) -> list[tuple[float, float]]:
    """Of each run that is finished on `device` the logarithm of the operations of a step, and operations a second."""
    return [(log(count_flops(s.spec)), s.speed) for s in standings if s.speed and s.device == device]


def find_speed(speeds: Sequence[tuple[float, float]], size: float) -> float:
    """The median speed of the runs nearest to `size`."""
    nearest = min(abs(known - size) for known, _ in speeds)
    return float(np.median([speed for known, speed in speeds if abs(known - size) == nearest]))


def _say_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"
