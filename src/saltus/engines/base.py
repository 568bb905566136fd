"""What an engine is: it does jobs, here or on other machines, and the folders on their common disk are the truth."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console

from saltus.engines.workers import WorkerError, describe_failure
from saltus.errors import SaltusError
from saltus.storage.files import is_held

RETRIES = 3
"""Attempts after the first of a job that died with its process or its machine; each resumes from the checkpoints."""

PATIENCE = 120.0
"""Seconds that an attempt waits for a folder that is held: the lock of a machine that is gone lasts 90 on NFS 4."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job. What it finished is in the folders."""

    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, why: a failure that another attempt would not mend."""
    left: Sequence[Path] = ()
    """Folders that other processes hold."""


class Job(Protocol):
    """Work that any process can do that sees the same disk: a description that can be pickled."""

    @property
    def names(self) -> Sequence[str]:
        """Of the runs that it works on."""
        ...

    def perform(self, console: Console) -> Outcome:
        """Do it, from wherever an earlier attempt has left the folders."""
        ...


class Engine(Protocol):
    """Does jobs."""

    @property
    def local(self) -> bool:
        """Whether they are done on this machine by this process, which then says by itself what it does."""
        ...

    @property
    def device(self) -> str:
        """'cpu', 'cuda' or 'mps': what a job trains on."""
        ...

    @property
    def processes(self) -> int:
        """How many processes a job trains in on a CPU."""
        ...

    @property
    def slots(self) -> int | None:
        """Jobs at a time; None where that is not known. With one, everything goes out as one job."""
        ...

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Do jobs in any order; the outcomes as they come. Whoever stops asking ends what is still at work."""
        ...


def await_free(folders: Sequence[Path], seconds: float) -> bool:
    """Wait until one of the folders is held by no process; whether one is.

    A holder may be an attempt before this one that has not quite ended, or whose lock outlives its machine.
    """
    until = time.monotonic() + seconds
    while all(map(is_held, folders)):
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def give_up(job: Job, why: str) -> Outcome:
    """The outcome of a job of which no attempt came to its end."""
    reason = f"the job died {RETRIES + 1} times ({why}); mend that and run the same command again: it resumes"
    return Outcome(failed=dict.fromkeys(job.names, reason))


def perform(job: Job, where: Path) -> Outcome:
    """What an engine has another process do: the job, in the folder from which it was sent; no error leaves it.

    Relative paths, as of a suite, are then those of the sender.
    """
    console = Console(width=120)
    try:
        with chdir(where):
            outcome = job.perform(console)
    except FileNotFoundError as error:
        if where.exists():
            return _fail(job, error)
        return _fail(job, SaltusError(f"{where} is not on the machine that was to work there; give it the same disk"))
    except Exception as error:  # noqa: BLE001 - whatever it is, the sender says it
        return _fail(job, error)
    return outcome


def tell(error: Exception) -> str:
    """One sentence about an error that ended a run."""
    told = isinstance(error, SaltusError | WorkerError)  # these name what was raised themselves
    text = str(error) if told else describe_failure(error).text
    return " ".join(text.split())


def _fail(job: Job, error: Exception) -> Outcome:
    return Outcome(failed=dict.fromkeys(job.names, tell(error)))
