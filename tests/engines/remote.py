"""An engine of this process that does jobs as other processes would."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from saltus.engines.base import Job, Outcome, give_up, perform


class Remote:
    """Performs the jobs that are sent together, the last one first; those with a name of `dying` never end."""

    local, device, processes = False, "cpu", 1

    def __init__(self, *dying: str, slots: int | None = None) -> None:
        self._dying = dying
        self.slots = slots
        self.done: list[list[str]] = []
        """The names of each job that was performed."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in reversed(jobs):
            if set(self._dying) & set(job.names):
                yield give_up(job, "its machine is gone")
                continue
            self.done.append(list(job.names))
            yield perform(job, Path.cwd())
