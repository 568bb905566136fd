"""A process that trains; it is spawned, holds no files, speaks over a pipe, and ends when this process dies."""

import multiprocessing
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from saltus.errors import SaltusError
from saltus.processes import without_interrupts
from saltus.specs import RunSpec
from saltus.train.ensemble import Ensemble, Member


class Worker:
    """One process with one thread that holds an ensemble at a time."""

    def __init__(self) -> None:
        self.members: tuple[Member, ...] = ()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # its start would undo the next line's mask
        with _environment(_choose_environment()), without_interrupts():
            self._process.start()
        theirs.close()

    def open(self, specs: Sequence[RunSpec], members: Sequence[Member]) -> None:
        """Train these from now on."""
        self.members = tuple(members)
        self.send("open", (list(specs), self.members))

    def send(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Have a method of the ensemble called; the answer is to be received."""
        try:
            self._connection.send((method, arguments))
        except ConnectionError:
            raise self._lost() from None

    def receive(self) -> Any:
        """The answer to what was sent; an error there is raised here."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        self._connection.close()  # one that waits for work ends by itself, and tidies up
        self._process.join(timeout=2)
        self._process.terminate()
        self._process.join()

    def _lost(self) -> SaltusError:
        self._process.join(timeout=5)
        return SaltusError(
            f"a process that trained {len(self.members)} seed(s) ended with code "
            f"{self._process.exitcode} (-9 is usually a lack of memory; 1 comes of a script that "
            "trains outside of `if __name__ == '__main__':`); "
            "run the same command again: it resumes from the last checkpoint"
        )


def _serve(connection: Connection) -> None:
    """The life of a worker: an ensemble that does what it is asked until nobody asks any more."""
    torch.set_num_threads(1)
    ensemble: Ensemble | None = None
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if method == "open":
                specs, members = arguments
                ensemble = Ensemble(specs, members, torch.device("cpu"), stacked=False, like=ensemble)
                answer = None
            else:
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
