"""The processes that work for this one: how many, and how they are started."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from math import ceil
from multiprocessing import resource_tracker
from pathlib import Path


def count_cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: those it is bound to, and no more than its container's share of time.

    Where a system does not say what a process is bound to, as macOS does not, they are the machine's.
    """
    bound = getattr(os, "sched_getaffinity", None)
    cores = len(bound(0)) if bound else os.cpu_count() or 1
    quota = _read_quota(groups)
    return cores if quota is None else max(1, min(cores, ceil(quota)))


@contextmanager
def without_interrupts() -> Generator[None, None, None]:
    """What is started here never sees Ctrl-C, which a terminal sends to all: this process hears it and ends them."""
    mask = getattr(signal, "pthread_sigmask", None)
    if mask is None:  # Windows has no masks; there they are deaf as soon as they call `ignore_interrupts`
        yield
        return
    resource_tracker.ensure_running()  # its start, which comes with that of the first process, would undo the mask
    before = mask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        mask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """Called by a process that was started here, before it does anything: the one that started it ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_quota(groups: Path) -> float | None:
    """Cores' worth of time that a container is given (cgroup v2, then v1); None where it is not bounded."""
    try:
        quota, period = (groups / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        given, period = (
            int((groups / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="utf-8")) for name in ("quota", "period")
        )
        return given / period if given > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
