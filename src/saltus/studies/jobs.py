"""What the jobs of a study are, and how long they will take, before anything is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

from rich.table import Table
from rich.text import Text

from saltus.specs import RunSpec
from saltus.studies.costs import DEVICE_FLOPS
from saltus.studies.flops import count_flops
from saltus.studies.status import find_speed, stand_finished
from saltus.train.flops import count_spent
from saltus.train.folder import RunFolder

CORE_FLOPS = 20e9
"""Operations a second that are assumed of a process on a CPU: small models reach a tenth of it, large ones more."""

_HOUR = 3600.0


@dataclass(frozen=True)
class Rate:
    """How fast a device trains: a CUDA device, or one process on a CPU."""

    device: str
    speeds: Sequence[tuple[float, float]]
    """Of finished runs: the logarithm of the operations in a step of a seed, and operations a second. May be empty."""
    out: Path
    """Where they were found, or looked for."""

    @classmethod
    def read(cls, out: Path, device: str) -> "Rate":
        """By the runs that are finished under `out` on such a device."""
        speeds: list[tuple[float, float]] = []
        for folder in RunFolder.list(out):
            if not folder.finished:
                continue
            spec, summary = folder.spec(), folder.summary()
            standing = stand_finished(spec, summary)
            if standing.speed and standing.device == device:
                speeds.append((log(count_flops(spec)), standing.speed / int(summary.get("processes") or 1)))
        return cls(device, speeds, out)

    def time(self, spec: RunSpec) -> float:
        """Seconds that all steps of all seeds of a run take at most; by the finished runs nearest to it in size."""
        assumed = CORE_FLOPS if self.device == "cpu" else DEVICE_FLOPS
        speed = find_speed(self.speeds, log(count_flops(spec))) if self.speeds else assumed
        return count_spent(spec, spec.training.steps).operations * spec.seeds / speed

    def __str__(self) -> str:
        what = "process on a CPU" if self.device == "cpu" else "device"
        if self.speeds:
            return f"a {what} is as fast as in the {len(self.speeds)} runs finished on {self.device} in {self.out}"
        assumed = "20 GFLOP/s" if self.device == "cpu" else "30 TFLOP/s"
        return f"a {what} is assumed to do {assumed}: no run is finished on {self.device} in {self.out}"


@dataclass(frozen=True)
class Plan:
    """Jobs that are to be sent."""

    waves: Sequence[Sequence[Sequence[RunSpec]]]
    """Of each wave, of each of its jobs, the runs; the jobs of a wave wait for those of the waves before."""
    rate: Rate
    processes: int
    """In which a job trains."""
    slots: int | None
    """Jobs at a time, where that is known."""

    @property
    def jobs(self) -> list[Sequence[RunSpec]]:
        """Of all waves."""
        return [job for wave in self.waves for job in wave]

    def time(self, job: Sequence[RunSpec]) -> float:
        """Seconds of one job, at most."""
        return sum(map(self.rate.time, job)) / self.processes

    @property
    def device_seconds(self) -> float:
        """Of all jobs together."""
        return sum(map(self.time, self.jobs))

    @property
    def seconds(self) -> float:
        """From the first to the last: no less than the longest job of each wave, nor than all slots at work."""
        return sum(
            max(max(times), sum(times) / (self.slots or len(times)))
            for wave in self.waves
            if (times := [self.time(job) for job in wave])
        )


def tabulate_plan(plan: Plan) -> Table:
    """A line for the jobs of each shape in each wave."""
    table = Table("wave", "such as", "jobs", "runs", "seeds", "seeds in a job", "hours of a job", "hours in all")
    for number, wave in enumerate(plan.waves, 1):
        alike: dict[tuple[str, ...], list[Sequence[RunSpec]]] = {}
        for job in wave:
            alike.setdefault(tuple(dict.fromkeys(spec.shape for spec in job)), []).append(job)
        for jobs in alike.values():
            seeds = [sum(spec.seeds for spec in job) for job in jobs]
            hours = [plan.time(job) / _HOUR for job in jobs]
            table.add_row(
                str(number),
                Text(jobs[0][0].name),
                f"{len(jobs):,}",
                f"{sum(map(len, jobs)):,}",
                f"{sum(seeds):,}",
                _range(f"{min(seeds):,}", f"{max(seeds):,}"),
                _range(f"{min(hours):.2f}", f"{max(hours):.2f}"),
                f"{sum(hours):,.2f}",
            )
    return table


def tell_plan(plan: Plan) -> str:
    """Two sentences: what it takes, and by which speed that is said."""
    jobs, runs = plan.jobs, sum(map(len, plan.jobs))
    if not jobs:
        return "nothing is to be done: all runs are finished"
    at_a_time = "all jobs at a time" if plan.slots is None else f"{plan.slots} jobs at a time"
    if plan.rate.device == "cpu":
        at_a_time += f", each of {plan.processes} process{'es' if plan.processes > 1 else ''}"
    return (
        f"{len(jobs)} jobs of {runs} runs, {plan.device_seconds / _HOUR:,.2f} hours of a device at most, and about "
        f"{plan.seconds / _HOUR:,.2f} hours with {at_a_time}; {plan.rate}"
    )


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
