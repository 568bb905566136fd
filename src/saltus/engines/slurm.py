"""Jobs of Slurm's, one array for those that are sent together, through submitit."""

import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from saltus.engines.base import RETRIES, Job, Outcome, give_up, perform
from saltus.engines.local import choose_processes
from saltus.engines.workers import choose_environment, environment
from saltus.errors import SaltusError
from saltus.extras import require_extra

POLL = 1.0
"""Seconds between two looks at the results of jobs; Slurm itself is asked once a minute, by submitit."""

ARRAY = 1000
"""Jobs of an array: Slurm takes up to 1,001 unless the cluster says else."""

_USUAL: Mapping[str, str | int] = {"name": "saltus", "timeout_min": 24 * 60, "slurm_signal_delay_s": 120}


class Performing:
    """What submitit pickles: it is requeued as it is when Slurm preempts it or its time ends."""

    def __call__(self, job: Job, where: Path) -> Outcome:
        """Do the job."""
        return perform(job, where)

    def checkpoint(self, job: Job, where: Path) -> Any:
        """What the next attempt is: the same, for the folders know how far it has come."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, job, where)


class SlurmEngine:
    """The cluster of which this machine is a login node."""

    local = False
    slots = None

    def __init__(self, device: str, processes: int, executor: Any) -> None:
        self.device, self.processes, self._executor = device, processes, executor

    @classmethod
    def of(cls, device: str, processes: int | None, logs: Path, parameters: Mapping[str, str]) -> Self:
        """An engine whose jobs write their logs to a folder, with parameters of submitit's.

        Raises:
            SaltusError: if submitit is not installed, there is no Slurm, or a parameter or the device is none.

        """
        require_extra("slurm", "the engine 'slurm'")
        import submitit

        if device not in ("cpu", "cuda"):
            raise SaltusError(
                f"device: {device!r} was given; what Slurm's machines have is not known here, so give 'cpu' or 'cuda'"
            )
        count = choose_processes(processes, 1)
        own = {"gpus_per_node": 1} if device == "cuda" else {"cpus_per_task": count}
        given = {name: int(text) if text.isdigit() else text for name, text in parameters.items()}
        cluster = str(given.pop("cluster", "slurm"))
        try:
            executor = submitit.AutoExecutor(logs, cluster=cluster, slurm_max_num_timeout=RETRIES)
            executor.update_parameters(**{**_USUAL, **own, **given})
        except (RuntimeError, NameError, ValueError, TypeError, AssertionError) as error:
            raise _refuse(error) from None
        return cls(device, count, executor)

    def run(self, jobs: Sequence[Job]) -> Generator[Outcome, None, None]:
        """As `Engine.run`."""
        sent = self._submit(jobs)
        attempts = {id(job): 1 for job in jobs}
        try:
            while sent:
                over = [task for task in sent if task.done()]
                died: list[Job] = []
                for task in over:
                    job = sent.pop(task)
                    outcome, why = _read(task)
                    if outcome is not None:
                        yield outcome
                    elif attempts[id(job)] > RETRIES:
                        yield give_up(job, why)
                    else:
                        attempts[id(job)] += 1
                        died.append(job)
                sent |= self._submit(died)
                if not over:
                    time.sleep(POLL)
        finally:
            for task in sent:
                task.cancel(check=False)

    def _submit(self, jobs: Sequence[Job]) -> dict[Any, Job]:
        """By submitit's job, ours: as arrays."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        sent: dict[Any, Job] = {}
        for place in range(0, len(jobs), ARRAY):
            some = jobs[place : place + ARRAY]
            try:
                with environment(choose_environment()):
                    tasks = self._executor.map_array(Performing(), some, [Path.cwd()] * len(some))
            except (FailedJobError, FailedSubmissionError) as error:
                raise _refuse(error) from None
            sent |= dict(zip(tasks, some, strict=True))
        return sent


def _refuse(error: Exception) -> SaltusError:
    text = " ".join(str(error).split())[:300]
    return SaltusError(f"engine: 'slurm' was given, and submitit refuses it: {text}")


def _read(task: Any) -> tuple[Outcome | None, str]:
    """What a job came to; or that its process died, and what it last said."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return task.result(), ""
    except (FailedJobError, UncompletedJobError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return None, f"{lines[0]} … {lines[-1]}"[:300]
