"""How far a study has come and how long the rest will take, read from its folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from saltus.specs import RunSpec
from saltus.studies.flops import count_flops
from saltus.train.folder import RunFolder, find_run


@dataclass(frozen=True)
class Standing:
    """Where one run stands."""

    spec: RunSpec
    step: int
    """Of its newest checkpoint, or its last."""
    seconds: float | None
    """What it took, if it is finished."""
    device: str | None
    """Where it was trained, if it is finished."""

    @property
    def work(self) -> float:
        """Floating-point operations that its steps so far have cost."""
        return count_flops(self.spec) * self.spec.seeds * self.step

    @property
    def speed(self) -> float | None:
        """Operations a second, if it is finished and has trained at all."""
        return self.work / self.seconds if self.seconds and self.step else None

    @property
    def rest(self) -> float:
        """Those that it may still cost: none if it is finished, otherwise up to its budget."""
        left = 0 if self.seconds is not None else self.spec.training.steps - self.step
        return count_flops(self.spec) * self.spec.seeds * left


def read_standings(specs: Sequence[RunSpec], out: Path) -> list[Standing]:
    """Where each run stands under `out`."""
    return [_read_standing(spec, find_run(out, spec)) for spec in specs]


def estimate_left(standings: Sequence[Standing], device: str) -> float | None:
    """Seconds until all are done, by those that are finished on `device`; None if none is.

    Small models do fewer operations a second than large ones, so a run is expected to be as fast as the finished ones
    that are nearest to it in the operations of a step.
    """
    speeds = [(log(count_flops(s.spec)), s.speed) for s in standings if s.speed and s.device == device]
    if not speeds:
        return None
    waiting = {s.spec.content_hash: s for s in standings if s.rest}  # what has several names is trained once
    return sum(s.rest / _find_speed(speeds, log(count_flops(s.spec))) for s in waiting.values())


def summarise_progress(specs: Sequence[RunSpec], out: Path, device: str) -> str:
    """One line: how many runs are done, and the time left."""
    standings = read_standings(specs, out)
    done = sum(s.seconds is not None for s in standings)
    left = estimate_left(standings, device)
    if done == len(standings):
        return f"all {done} runs are finished"
    rest = "no estimate before the first is finished" if left is None else f"about {_say_duration(left)} left"
    return f"{done} of {len(standings)} runs are finished; {rest} on {device}"


def tabulate_status(specs: Sequence[RunSpec], out: Path) -> Table:
    """A line for each run."""
    table = Table("run", "seeds", "step", "of", "state", "seconds")
    for standing in read_standings(specs, out):
        state = "finished" if standing.seconds is not None else "begun" if standing.step else "waiting"
        table.add_row(
            Text(standing.spec.name),
            str(standing.spec.seeds),
            f"{standing.step:,}",
            f"{standing.spec.training.steps:,}",
            state,
            "" if standing.seconds is None else f"{standing.seconds:,.0f}",
        )
    return table


def _read_standing(spec: RunSpec, folder: RunFolder) -> Standing:
    if folder.finished:
        summary = folder.summary()
        return Standing(spec, int(summary["last_step"]), float(summary["seconds"]), str(summary["device"]))
    return Standing(spec, max(folder.checkpoint_steps(), default=0), None, None)


def _find_speed(speeds: Sequence[tuple[float, float]], size: float) -> float:
    """The median speed of those nearest to `size`."""
    nearest = min(abs(known - size) for known, _ in speeds)
    return float(np.median([speed for known, speed in speeds if abs(known - size) == nearest]))


def _say_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"
