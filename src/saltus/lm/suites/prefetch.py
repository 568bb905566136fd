"""The next checkpoint is fetched while the present one is measured."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from saltus.lm.suites.base import Run, Suite


class Prefetcher:
    """Fetches from a suite, at most one checkpoint ahead and never two at once."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._ahead: _Fetch | None = None

    def get(self, run: Run, step: int, following: tuple[Run, int] | None = None) -> Path:
        """The folder of a checkpoint; `following` is the one to be fetched meanwhile. Errors as in `Suite.fetch`.

        What went wrong with a checkpoint that was fetched ahead is raised when that checkpoint is asked for.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.join()
        path = ahead.result() if ahead is not None and ahead.checkpoint == (run, step) else self._suite.fetch(run, step)
        if following is not None and following != (run, step):
            self._ahead = _Fetch(self._suite, *following)
            self._ahead.start()
        return path

    def close(self) -> None:
        """Wait for a fetch in progress and forget it."""
        if self._ahead is not None:
            self._ahead.join()
        self._ahead = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()  # after an error or Ctrl-C nobody waits: the thread ends with the process


class _Fetch(threading.Thread):
    """One fetch in the background."""

    def __init__(self, suite: Suite, run: Run, step: int) -> None:
        super().__init__(name=f"fetch {run} step {step}", daemon=True)
        self.checkpoint = (run, step)
        self._suite = suite
        self._path: Path | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._path = self._suite.fetch(*self.checkpoint)
        except BaseException as error:  # noqa: BLE001 - raised where the checkpoint is asked for
            self._error = error

    def result(self) -> Path:
        """What the fetch came to, once it has ended."""
        if self._error is not None:
            raise self._error
        assert self._path is not None
        return self._path
