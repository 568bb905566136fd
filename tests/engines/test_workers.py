"""The processes that train."""

import multiprocessing
import time

import pytest
import torch

from saltus.engines.workers import OWN, Worker, WorkerError, describe_failure
from saltus.errors import SaltusError
from saltus.models.custom import build_custom
from saltus.specs import CustomSpec, LinearMapSpec, RunSpec, TrainingSpec
from saltus.train.ensemble import list_members


class Slow(torch.nn.Module):
    """Takes half a minute for a batch, and no time for the two sequences that it is checked with."""

    def __init__(self, d_model: int, length: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(d_model, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            time.sleep(30.0)
        return self.linear(x)


class UnlikeError(Exception):
    """Cannot be made from its text: what pickles it cannot read it back."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} is unlike {other}")


class Raising(torch.nn.Module):
    """Raises an exception of its own in the first batch."""

    def __init__(self, d_model: int, length: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(d_model, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise UnlikeError(len(x), 2)
        return self.linear(x)


def make(model: CustomSpec) -> RunSpec:
    return RunSpec(
        task=LinearMapSpec(size=4, sparsity=2),
        model=model,
        training=TrainingSpec(steps=2, batch_sequences=8, compile=False),
        seeds=1,
    )


def test_a_worker_that_waits_for_work_ends_by_itself() -> None:
    """Ended from outside it would leave semaphores behind, and Python would say so after every command."""
    before = set(multiprocessing.active_children())
    worker = Worker()
    (process,) = set(multiprocessing.active_children()) - before
    worker.open([], [])
    with pytest.raises(WorkerError, match="IndexError") as raised:  # it is up, and nothing was given to train
        worker.receive()
    assert "in the process that trained:" in raised.value.__notes__[0]
    assert "line" in raised.value.__notes__[0]
    worker.leave()
    worker.end(30.0)
    assert process.exitcode == 0


def test_what_own_code_raises_is_one_sentence_with_its_line_and_a_long_step_ends_at_once() -> None:
    worker = Worker()
    raising = make(CustomSpec.of(Raising, layers=1, d_model=8))
    worker.open([raising], list_members([raising]))
    worker.receive()
    worker.send("advance", (1,))
    with pytest.raises(SaltusError, match=r"code of Raising raised UnlikeError: 8 is unlike 2, at line \d+: raise"):
        worker.receive()
    slow = make(CustomSpec.of(Slow, layers=1, d_model=8))
    worker.open([slow], list_members([slow]))
    worker.receive()
    worker.send("advance", (1,))
    time.sleep(0.3)
    started = time.monotonic()
    worker.leave()
    worker.end(0.5)
    assert time.monotonic() - started < 10.0  # of thirty seconds that the step takes


def test_what_memory_has_to_do_with_says_what_to_make_smaller() -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")):
        failure = describe_failure(error)
        assert failure.text.startswith("memory ended (")
        assert "take fewer sequences" in failure.text
        assert not failure.trace


def test_an_error_of_nobodys_keeps_its_trace_and_one_of_own_code_its_line() -> None:
    with pytest.raises(ValueError, match="invalid literal") as invalid:
        int("x")
    assert 'int("x")' in describe_failure(invalid.value).trace
    spec = CustomSpec.of(Raising, layers=1, d_model=8)
    module = build_custom(spec, 7)
    with pytest.raises(Exception, match="3 is unlike 2") as raised:
        module(torch.zeros(3, 7, 8))
    failure = describe_failure(raised.value)
    assert failure.text.startswith(f"{OWN[1:]}Raising raised UnlikeError: 3 is unlike 2, at line ")
    assert not failure.trace
