"""What trains on this machine: one process a core on a CPU, one stacked program on a CUDA device."""

import shutil
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from saltus.engines.base import Job, Outcome
from saltus.engines.workers import Worker, WorkerError
from saltus.errors import SaltusError
from saltus.processes import count_cores
from saltus.specs import RunSpec
from saltus.train.ensemble import Ensemble, Member
from saltus.train.evaluation import Evaluation, TrainLoss
from saltus.train.flops import is_compiled
from saltus.train.loop import Trainer
from saltus.train.state import SeedState

STACKED_TOKENS = 2**20
"""Tokens of a step on a CUDA device: 128 seeds of 8,192. More would not make a step cheaper, and takes memory."""

PATIENCE = 2.0
"""Seconds that all processes together are given to end by themselves."""

_DEVICES: dict[str, tuple[Callable[[], bool], str]] = {
    "cuda": (lambda: torch.cuda.is_available(), "CUDA device"),
    "mps": (lambda: torch.backends.mps.is_available(), "GPU of Apple's"),
}
"""What PyTorch may find, by name: whether it is there, and what it is."""

_COMPILERS = ("g++", "c++", "clang++")


class Machine(Protocol):
    """Trains runs of one shape together, one group after the other."""

    def choose(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> int:
        """How many of the first runs, which all have one shape, to train together: so many seeds of each."""
        ...

    def suffices(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> bool:
        """Whether to choose among these without looking for more of their shape."""
        ...

    def open(self, specs: Sequence[RunSpec], members: Sequence[Member], beside: Path | None = None) -> Trainer:
        """These seeds of `specs`, at their start; what was opened before is given up.

        `beside` is the folder of results with the runs that these need, if any.
        """
        ...


class LocalEngine:
    """Jobs one after the other in this process, which raises what goes wrong in them."""

    local = True
    slots = 1

    def __init__(self, device: str, processes: int, console: Console) -> None:
        self.device, self.processes, self._console = device, processes, console

    @classmethod
    def of(cls, device: str, processes: int | None, console: Console) -> Self:
        """On the device that a user named; on a CPU in so many processes, or in one for each core."""
        return cls(choose_device(device).type, choose_processes(processes, count_cores()), console)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """As `Engine.run`."""
        for job in jobs:
            yield job.perform(self._console)


def choose_processes(processes: int | None, usual: int) -> int:
    """The number of processes that a user named, or the usual one."""
    if processes is not None and processes < 1:
        raise SaltusError(f"processes: {processes} was given; allowed is 1 or more")
    return processes or usual


@contextmanager
def open_machine(
    device: torch.device, processes: int | None = None, *, own: bool = False
) -> Generator[Machine, None, None]:
    """What trains on a device; on a CPU it has so many processes, or one for each core.

    Where this process is a job's `own` and is asked for one, it trains itself, on one thread.
    """
    if device.type != "cpu":
        yield Stacked(device)
        return
    if own and processes == 1:
        torch.set_num_threads(1)
        yield Single()
        return
    pool = ProcessPool(processes or count_cores())
    try:
        yield pool
    finally:
        pool.close()


def choose_device(device: str) -> torch.device:
    """The device that a user named; `auto` takes CUDA where it is there.

    Apple's `mps` has to be named: it has no float64, so losses are summed less exactly there.
    """
    if device not in ("auto", "cpu", *_DEVICES):
        raise SaltusError(f"device: {device!r} was given; allowed are 'auto', 'cpu', 'cuda' and 'mps'")
    there = {name: available() for name, (available, _) in _DEVICES.items()}
    if device in there and not there[device]:
        raise SaltusError(f"device: {device!r} was given, but PyTorch finds no {_DEVICES[device][1]} here; use 'cpu'")
    return torch.device("cuda" if device == "auto" and there["cuda"] else "cpu" if device == "auto" else device)


def check_compiler(spec: RunSpec) -> None:
    """Raise a SaltusError if a run is to be compiled for the CPU and there is no compiler."""
    if is_compiled(spec) and not any(map(shutil.which, _COMPILERS)):
        raise SaltusError(
            f"training.compile: {spec.training.compile} was given, but none of the C++ compilers "
            f"{', '.join(_COMPILERS)} is here; install one, or set compile=False"
        )


class Stacked:
    """All seeds of as many runs as fit into one batch."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ensemble: Ensemble | None = None

    def choose(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> int:
        """As many as keep a step within `STACKED_TOKENS`, at least one."""
        tokens = np.cumsum([n * spec.batch * spec.task.tokens for spec, n in zip(waiting, seeds, strict=True)])
        return max(1, int((tokens <= STACKED_TOKENS).sum()))

    def suffices(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> bool:
        """As soon as there is one too many."""
        return self.choose(waiting, seeds) < len(waiting)

    def open(self, specs: Sequence[RunSpec], members: Sequence[Member], beside: Path | None = None) -> Trainer:
        """As `Machine.open`."""
        self._ensemble = Ensemble(specs, members, self._device, stacked=True, like=self._ensemble, beside=beside)
        return self._ensemble


class Single:
    """No process besides this one, on a CPU."""

    def __init__(self) -> None:
        self._ensemble: Ensemble | None = None

    def choose(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> int:
        """One run: more would not be faster."""
        return 1

    def suffices(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> bool:
        """Always."""
        return True

    def open(self, specs: Sequence[RunSpec], members: Sequence[Member], beside: Path | None = None) -> Trainer:
        """As `Machine.open`."""
        check_compiler(specs[0])
        cpu = torch.device("cpu")
        self._ensemble = Ensemble(specs, members, cpu, stacked=False, like=self._ensemble, beside=beside)
        return self._ensemble


class ProcessPool:
    """Seeds dealt out to processes, which stay for the next group; to the loop they look like one ensemble."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []

    def choose(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> int:
        """As few as leave the smallest share of the processes idle, so that runs are finished early."""
        together = np.cumsum(seeds)
        idle = (-together % self._processes) / np.maximum(together, 1)  # a run may have no seed left to train
        return int(idle.argmin()) + 1

    def suffices(self, waiting: Sequence[RunSpec], seeds: Sequence[int]) -> bool:
        """As soon as none would be idle, which as many runs of equal seeds as there are processes see to."""
        return len(waiting) >= self._processes or sum(seeds) % self._processes == 0

    def open(self, specs: Sequence[RunSpec], members: Sequence[Member], beside: Path | None = None) -> Trainer:
        """As `Machine.open`."""
        check_compiler(specs[0])
        number = min(len(members), self._processes)
        everyone = [worker for worker in (*self._workers, *self._idle) if worker.alive]
        everyone += [Worker() for _ in range(number - len(everyone))]
        self._workers, self._idle = everyone[:number], everyone[number:]
        shares = [[members[i] for i in share] for share in np.array_split(np.arange(len(members)), number)]
        for worker, share in zip(self._workers, shares, strict=True):
            worker.open(specs, share, beside)
        self._receive()
        return self

    def advance(self, step: int) -> dict[Member, TrainLoss]:
        """As `Ensemble.advance`."""
        return self._ask("advance", lambda _: (step,))

    def evaluate(self) -> dict[Member, Evaluation]:
        """As `Ensemble.evaluate`."""
        return self._ask("evaluate")

    def influence(self, run: int) -> dict[Member, NDArray[np.float32]]:
        """As `Ensemble.influence`."""
        return self._ask("influence", lambda _: (run,))

    def state(self) -> dict[Member, SeedState]:
        """As `Ensemble.state`."""
        return self._ask("state")

    def load(self, step: int, states: Mapping[Member, SeedState]) -> None:
        """As `Ensemble.load`."""
        self._ask("load", lambda worker: (step, {member: states[member] for member in worker.members}))

    def retire(self, members: Collection[Member]) -> None:
        """As `Ensemble.retire`."""
        if members:
            self._ask("retire", lambda _: (members,))

    def close(self) -> None:
        """End the processes, all within `PATIENCE`: one may be in the middle of a step of half a minute."""
        everyone = [*self._workers, *self._idle]
        for worker in everyone:
            worker.leave()
        until = time.monotonic() + PATIENCE
        for worker in everyone:
            worker.end(max(0.0, until - time.monotonic()))

    def _ask(self, method: str, arguments: Callable[[Worker], tuple[Any, ...]] = lambda _: ()) -> dict[Member, Any]:
        """Call a method of every worker's ensemble at the same time, and put the answers together."""
        for worker in self._workers:
            worker.send(method, arguments(worker))
        return {member: value for answer in self._receive() if answer for member, value in answer.items()}

    def _receive(self) -> list[Any]:
        """The answer of every worker. All are read before the first failure is raised: one that is left unread would be
        taken for the answer to what is asked next.
        """
        answers: list[Any] = []
        failures: list[Exception] = []
        for worker in self._workers:
            try:
                answers.append(worker.receive())
            except (SaltusError, WorkerError) as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return answers
