"""One process a core, each training some of the seeds: how a CPU is kept busy.

The processes are spawned, hold no files and speak over pipes; when this process dies, they end by themselves.
"""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.processes import without_interrupts
from saltus.specs import RunSpec
from saltus.train.ensemble import Ensemble, SeedState
from saltus.train.evaluate import Evaluation
from saltus.train.loop import Trainer

_COMPILERS = ("g++", "c++", "clang++")


@contextmanager
def open_trainer(spec: RunSpec, device: torch.device) -> Generator[Trainer, None, None]:
    """Something that trains the seeds of `spec`: in this process on a CUDA device, in one for each core on a CPU."""
    if device.type == "cuda":
        yield Ensemble(spec, range(spec.seeds), device, stacked=True)
        return
    if spec.training.compile and not any(map(shutil.which, _COMPILERS)):
        raise SaltusError(
            f"training.compile: True was given, but none of the C++ compilers {', '.join(_COMPILERS)} is here; "
            "install one, or set compile=False"
        )
    pool = ProcessPool(spec, min(spec.seeds, len(os.sched_getaffinity(0))))
    try:
        yield pool
    finally:
        pool.close()


def choose_device(device: str) -> torch.device:
    """The device that a user named; `auto` takes CUDA where it is there."""
    if device not in ("auto", "cpu", "cuda"):
        raise SaltusError(f"device: {device!r} was given; allowed are 'auto', 'cpu' and 'cuda'")
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise SaltusError("device: 'cuda' was given, but PyTorch finds no CUDA device here; use 'cpu' or 'auto'")
    return torch.device("cuda" if there and device != "cpu" else "cpu")


class ProcessPool:
    """The seeds of a run, dealt out to processes; to the loop it looks like one ensemble."""

    def __init__(self, spec: RunSpec, processes: int) -> None:
        self.seeds = tuple(range(spec.seeds))
        shares = [tuple(int(s) for s in share) for share in np.array_split(self.seeds, processes)]
        self._workers = [_Worker(spec, share) for share in shares]

    def advance(self, step: int) -> NDArray[np.float64]:
        """As `Ensemble.advance`."""
        return np.concatenate(self._ask("advance", lambda _: (step,)))

    def evaluate(self) -> list[Evaluation]:
        """As `Ensemble.evaluate`."""
        return [evaluation for part in self._ask("evaluate") for evaluation in part]

    def state(self) -> list[SeedState]:
        """As `Ensemble.state`."""
        return [state for part in self._ask("state") for state in part]

    def load(self, step: int, states: Sequence[SeedState]) -> None:
        """As `Ensemble.load`."""
        self._ask("load", lambda worker: (step, [states[seed] for seed in worker.seeds]))

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def _ask(self, method: str, arguments: Callable[["_Worker"], tuple[Any, ...]] = lambda _: ()) -> list[Any]:
        """Call a method of every worker's ensemble at the same time."""
        for worker in self._workers:
            worker.send(method, arguments(worker))
        return [worker.receive() for worker in self._workers]


class _Worker:
    def __init__(self, spec: RunSpec, seeds: tuple[int, ...]) -> None:
        self.seeds = seeds
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(theirs, spec, seeds), daemon=True)
        resource_tracker.ensure_running()  # its start would undo the next line's mask
        with _environment(_choose_environment()), without_interrupts():
            self._process.start()
        theirs.close()

    def send(self, method: str, arguments: tuple[Any, ...]) -> None:
        try:
            self._connection.send((method, arguments))
        except ConnectionError:
            raise self._lost() from None

    def receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.terminate()
        self._process.join()

    def _lost(self) -> SaltusError:
        self._process.join(timeout=5)
        return SaltusError(
            f"the process that trained seeds {self.seeds[0]} to {self.seeds[-1]} ended with code "
            f"{self._process.exitcode} (-9 is usually a lack of memory; 1 comes of a script that "
            "trains outside of `if __name__ == '__main__':`); "
            "run the same command again: it resumes from the last checkpoint"
        )


def _serve(connection: Connection, spec: RunSpec, seeds: tuple[int, ...]) -> None:
    """The life of a worker: an ensemble that does what it is asked until nobody asks any more."""
    torch.set_num_threads(1)
    ensemble: Ensemble | None = None
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            ensemble = ensemble or Ensemble(spec, seeds, torch.device("cpu"), stacked=False)
            answer = getattr(ensemble, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
            answer = error
        try:
            connection.send(answer)
        except ConnectionError:
            return


def _choose_environment() -> dict[str, str]:
    """What a worker's process is started with."""
    return {
        # Freed activations stay with the process: giving them back to the system and faulting them in again costs
        # a tenth of a training step. glibc reads these when a process starts.
        "MALLOC_MMAP_THRESHOLD_": str(2**32),
        "MALLOC_TRIM_THRESHOLD_": str(2**32),
        "MALLOC_TOP_PAD_": str(2**26),
        # PyTorch's default is a temporary folder, which a restart of the machine empties.
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".cache" / "saltus")),
    }


@contextmanager
def _environment(values: dict[str, str]) -> Generator[None, None, None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
