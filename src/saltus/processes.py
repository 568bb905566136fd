"""Starting processes that work for this one."""

import signal
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without_interrupts() -> Generator[None, None, None]:
    """What is started here never sees Ctrl-C, which a terminal sends to all: this process hears it and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
