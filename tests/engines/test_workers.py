"""The processes that train."""

import multiprocessing

from saltus.engines.workers import Worker


def test_a_worker_that_waits_for_work_ends_by_itself() -> None:
    """Ended from outside it would leave semaphores behind, and Python would say so after every command."""
    before = set(multiprocessing.active_children())
    worker = Worker()
    (process,) = set(multiprocessing.active_children()) - before
    worker.open([], [])
    assert "IndexError" in repr(_answer(worker))  # it is up, and nothing was given to train
    worker.close()
    assert process.exitcode == 0


def _answer(worker: Worker) -> object:
    try:
        return worker.receive()
    except IndexError as error:
        return error
