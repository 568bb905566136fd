"""Jobs on a Ray cluster: one task each, which Ray gives another attempt where a process or a machine dies."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from saltus.engines.base import RETRIES, Job, Outcome, give_up, perform
from saltus.engines.local import choose_processes
from saltus.engines.workers import choose_environment
from saltus.errors import SaltusError
from saltus.extras import require_extra


class RayEngine:
    """The cluster that RAY_ADDRESS names or that runs on this machine; this machine alone where there is none."""

    local = False

    def __init__(self, device: str, processes: int, slots: int) -> None:
        self.device, self.processes, self.slots = device, processes, slots

    @classmethod
    @contextmanager
    def open(cls, device: str, processes: int | None) -> Generator[Self, None, None]:
        """Connect, or start it; what was started here ends with it.

        Raises:
            SaltusError: if Ray is not installed or not reached, or no machine of the cluster has what a job takes.

        """
        require_extra("ray", "the engine 'ray'")
        import ray

        connected = ray.is_initialized()
        if not connected:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody unasked
            try:
                ray.init(configure_logging=False, log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                text = " ".join(str(error).split())
                raise SaltusError(
                    f"engine: 'ray' was given, and the cluster is not reached ({text}); start it, or unset RAY_ADDRESS"
                ) from None
        try:
            yield cls._measure(device, choose_processes(processes, 1))
        finally:
            if not connected:
                ray.shutdown()

    @classmethod
    def _measure(cls, device: str, processes: int) -> Self:
        """The engine of the cluster that is connected: how many jobs it takes at a time."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if device == "auto":
            device = "cuda" if any(node.get("GPU") for node in nodes) else "cpu"
        needed = {"cpu": ("CPU", processes), "cuda": ("GPU", 1)}
        if device not in needed:
            raise SaltusError(
                f"device: {device!r} was given; allowed with the engine 'ray' are 'auto', 'cpu' and 'cuda'"
            )
        resource, count = needed[device]
        slots = sum(int(node.get(resource, 0)) // count for node in nodes)
        if not slots:
            most = max((int(node.get(resource, 0)) for node in nodes), default=0)
            raise SaltusError(
                f"a job takes {count} {resource}, and no machine of the Ray cluster has more than {most}; give fewer "
                "processes or another device"
            )
        return cls(device, processes, slots)

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """As `Engine.run`."""
        import ray
        from ray.exceptions import RayError

        resources = {"num_gpus": 1, "num_cpus": 1} if self.device == "cuda" else {"num_cpus": self.processes}
        task = ray.remote(perform).options(
            max_retries=RETRIES,
            retry_exceptions=False,
            runtime_env={"env_vars": choose_environment()},
            **resources,
        )
        sent: dict[Any, Job] = {task.remote(job, Path.cwd()): job for job in jobs}
        try:
            while sent:
                [ready], _ = ray.wait(list(sent))
                job = sent.pop(ready)
                try:
                    yield ray.get(ready)
                except RayError as error:
                    yield give_up(job, " ".join(str(error).split())[:300])
        finally:
            for task_of_job in sent:
                ray.cancel(task_of_job, force=True)
