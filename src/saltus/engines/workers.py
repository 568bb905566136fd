"""A process that trains; it is spawned, holds no files, speaks over a pipe, and ends when this process dies."""

import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch

from saltus.errors import SaltusError
from saltus.processes import ignore_interrupts, without_interrupts
from saltus.specs import RunSpec
from saltus.train.ensemble import Ensemble, Member
from saltus.train.memory import is_out_of_memory

OWN = "<code of "
"""How the file names of a user's own code begin."""


@dataclass(frozen=True)
class Failure:
    """What a worker raised, as text: its class may be one that only the worker knows."""

    text: str
    """One sentence."""
    trace: str
    """The traceback, with the lines of the code; empty where the sentence says all."""

    def as_error(self) -> Exception:
        """What this process raises in its place."""
        if not self.trace:
            return SaltusError(self.text)
        error = WorkerError(self.text)
        error.add_note(f"in the process that trained:\n{self.trace}")
        return error


class WorkerError(RuntimeError):
    """Something was raised in a process that trains, for which there is no remedy to name."""


def describe_failure(error: Exception) -> Failure:
    """What a worker tells of an error: where it lies in the user's own code, or that memory ended, or all of it."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    if isinstance(error, SaltusError):
        return Failure(str(error), "")
    if is_out_of_memory(error):
        return Failure(
            f"memory ended ({text}); take fewer sequences in a batch or an evaluation, or fewer processes, and run the "
            "same command again: it resumes from the last checkpoint",
            "",
        )
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if frame.filename.startswith(OWN)), None)
    if own is not None:
        return Failure(f"{own.filename[1:-1]} raised {text}, at line {own.lineno}: {own.line}", "")
    return Failure(text, "".join(traceback.format_exception(error)))


class Worker:
    """One process with one thread that holds an ensemble at a time."""

    def __init__(self) -> None:
        self.members: tuple[Member, ...] = ()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        with environment(choose_environment()), without_interrupts():
            self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether its process runs: the system may have ended it for lack of memory."""
        return self._process.is_alive()

    def open(self, specs: Sequence[RunSpec], members: Sequence[Member], beside: Path | None = None) -> None:
        """Train these from now on; as `saltus.engines.local.Machine.open`."""
        self.members = tuple(members)
        self.send("open", (list(specs), self.members, beside))

    def send(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Have a method of the ensemble called; the answer is to be received, also that the process is gone."""
        with suppress(ConnectionError):
            self._connection.send((method, arguments))

    def receive(self) -> Any:
        """The answer to what was sent; an error there is raised here."""
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if isinstance(answer, Failure):
            raise answer.as_error()
        return answer

    def leave(self) -> None:
        """Ask for nothing any more: one that waits for work ends by itself, and tidies up."""
        self._connection.close()

    def end(self, seconds: float) -> None:
        """Wait so long for the process to end, then end it, whatever it is at: it holds no files."""
        self._process.join(timeout=seconds)
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
    ignore_interrupts()
    torch.set_num_threads(1)
    ensemble: Ensemble | None = None
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if method == "open":
                specs, members, beside = arguments
                ensemble = Ensemble(specs, members, torch.device("cpu"), stacked=False, like=ensemble, beside=beside)
                answer = None
            else:
                answer = getattr(ensemble, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
            answer = describe_failure(error)
        try:
            connection.send(answer)
        except ConnectionError:
            return


def choose_environment() -> dict[str, str]:
    """What a process that trains is started with."""
    return {
        # Freed activations stay with the process: giving them back to the system and faulting them in again costs
        # a tenth of a training step. glibc reads these when a process starts.
        "MALLOC_MMAP_THRESHOLD_": str(2**32),
        "MALLOC_TRIM_THRESHOLD_": str(2**32),
        "MALLOC_TOP_PAD_": str(2**26),
        # PyTorch's default is a temporary folder, which a restart of the machine empties.
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(find_cache())),
    }


def find_cache() -> Path:
    """Where compiled steps are kept: in the user's home, or in the temporary folder where there is none.

    A container may run as a user that the system does not know, and then has no home unless HOME says so.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("~")
    known = home.is_dir() and os.access(home, os.W_OK)
    user = getattr(os, "getuid", lambda: "cache")()  # the temporary folder of Windows is the user's own
    return home / ".cache" / "saltus" if known else Path(tempfile.gettempdir()) / f"saltus-{user}"


@contextmanager
def environment(values: dict[str, str]) -> Generator[None, None, None]:
    """Processes that are started within have these variables."""
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
