import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from saltus.errors import SaltusError
from saltus.lm.suites.base import MissingCheckpoint, Run
from saltus.lm.suites.prefetch import Prefetcher

RUN = Run("tiny", "0")
PATIENCE = 20.0
"""Seconds after which something that does not happen counts as not happening."""


class Recorder:
    """A suite that notes what is fetched, by which thread, and how many at once; some steps fail, some wait."""

    def __init__(self, failing: dict[int, Exception] | None = None) -> None:
        self.fetched: list[int] = []
        self.threads: dict[int, threading.Thread] = {}
        self.most_at_once = 0
        self.gates: dict[int, threading.Event] = {}
        self.begun: dict[int, threading.Event] = {step: threading.Event() for step in range(10)}
        self._failing = failing or {}
        self._running = 0

    @property
    def name(self) -> str:
        return "recorder"

    def runs(self) -> Sequence[Run]:
        return [RUN]

    def steps(self, run: Run) -> Sequence[int]:
        return range(10)

    def fetch(self, run: Run, step: int) -> Path:
        self.fetched.append(step)
        self.threads[step] = threading.current_thread()
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        self.begun[step].set()
        try:
            if step in self.gates:
                assert self.gates[step].wait(PATIENCE)
            if step in self._failing:
                raise self._failing[step]
        finally:
            self._running -= 1
        return Path(f"{run.size}/{run.seed}/{step}")


def test_the_next_is_fetched_while_the_present_one_is_used() -> None:
    suite = Recorder()
    suite.gates[2] = threading.Event()
    with Prefetcher(suite) as prefetcher:
        assert prefetcher.get(RUN, 1, (RUN, 2)) == Path("tiny/0/1")
        assert suite.begun[2].wait(PATIENCE)  # by itself, while step 1 is ours
        suite.gates[2].set()
        assert prefetcher.get(RUN, 2, (RUN, 3)) == Path("tiny/0/2")
        assert prefetcher.get(RUN, 3) == Path("tiny/0/3")
    assert suite.fetched == [1, 2, 3]
    assert suite.threads[1] is threading.main_thread()
    assert suite.threads[2] is not threading.main_thread()


def test_a_wrong_guess_is_waited_for_and_forgotten() -> None:
    suite = Recorder({2: SaltusError("not asked for")})
    with Prefetcher(suite) as prefetcher:
        prefetcher.get(RUN, 1, (RUN, 2))
        assert prefetcher.get(RUN, 5, (RUN, 6)) == Path("tiny/0/5")
        assert prefetcher.get(RUN, 7) == Path("tiny/0/7")
    assert suite.fetched == [1, 2, 5, 6, 7]
    assert suite.most_at_once == 1


@pytest.mark.parametrize("error", [MissingCheckpoint("gone"), SaltusError("no network")])
def test_an_error_is_raised_where_the_checkpoint_is_asked_for(error: Exception) -> None:
    suite = Recorder({2: error})
    with Prefetcher(suite) as prefetcher:
        prefetcher.get(RUN, 1, (RUN, 2))
        with pytest.raises(type(error), match=str(error)):
            prefetcher.get(RUN, 2, (RUN, 3))
        assert prefetcher.get(RUN, 3) == Path("tiny/0/3")
    assert suite.fetched == [1, 2, 3]


def test_the_same_step_of_another_run_is_another_checkpoint() -> None:
    suite = Recorder()
    with Prefetcher(suite) as prefetcher:
        prefetcher.get(RUN, 1, (Run("tiny", "1"), 2))
        assert prefetcher.get(RUN, 2) == Path("tiny/0/2")


def test_nothing_is_fetched_ahead_of_itself() -> None:
    suite = Recorder()
    with Prefetcher(suite) as prefetcher:
        prefetcher.get(RUN, 1, (RUN, 1))
    assert suite.fetched == [1]


def test_the_end_waits_for_the_thread_but_an_error_does_not() -> None:
    suite = Recorder()
    suite.gates[2] = threading.Event()
    with Prefetcher(suite) as prefetcher:
        prefetcher.get(RUN, 1, (RUN, 2))
        threading.Timer(0.2, suite.gates[2].set).start()
    assert suite.gates[2].is_set()
    assert not suite.threads[2].is_alive()
    suite.gates[4] = threading.Event()

    def interrupt() -> None:
        with Prefetcher(suite) as prefetcher:
            prefetcher.get(RUN, 3, (RUN, 4))
            assert suite.begun[4].wait(PATIENCE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert suite.threads[4].is_alive()
    assert suite.threads[4].daemon  # it cannot hold up the end of the process
    suite.gates[4].set()
    suite.threads[4].join(PATIENCE)
