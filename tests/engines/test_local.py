"""How many runs train together on a device, and what a run that fails leaves behind."""

import multiprocessing
from typing import Any

import pytest
import torch

from saltus.engines.local import STACKED_TOKENS, ProcessPool, Stacked
from saltus.errors import SaltusError
from saltus.specs import CustomSpec, LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec
from saltus.train.ensemble import list_members


class Raising(torch.nn.Module):
    """Raises in the first batch, and not for the two sequences that it is checked with."""

    def __init__(self, d_model: int, length: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(d_model, d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise ValueError("my own mistake")
        return self.linear(x)


def make(seeds: int, sequences: int = 256) -> RunSpec:
    return RunSpec(
        name="cell",
        task=LinearMapSpec(size=16, sparsity=3),
        model=TransformerSpec(d_model=16, heads=2),
        training=TrainingSpec(steps=10, batch_sequences=sequences),
        seeds=seeds,
    )


@pytest.mark.parametrize(
    ("seeds", "processes", "expected"),
    [
        ([3, 3, 3], 2, 2),  # six seeds keep both busy, three leave one idle
        ([4, 4], 2, 1),  # the fewest that leave none idle: the first is finished sooner
        ([1, 1, 1], 2, 2),
        ([1], 2, 1),
        ([3], 8, 1),
        ([3, 3, 3], 8, 2),  # three leave 5 idle, six 2, nine 7 in their second turn
    ],
)
def test_a_cpu_takes_as_few_runs_as_keep_its_cores_busy(seeds: list[int], processes: int, expected: int) -> None:
    assert ProcessPool(processes).choose([make(n) for n in seeds], seeds) == expected


def test_a_device_takes_what_fits_into_one_batch() -> None:
    machine = Stacked(torch.device("cuda"))
    fitting = STACKED_TOKENS // (3 * 256 * 32)
    assert machine.choose([make(3)] * 100, [3] * 100) == fitting
    assert machine.choose([make(3, sequences=STACKED_TOKENS)] * 2, [3, 3]) == 1


def test_no_more_runs_are_looked_at_than_change_the_choice() -> None:
    for processes, seeds in ((2, 3), (8, 3), (8, 5), (6, 4), (1, 7)):
        pool, runs = ProcessPool(processes), [make(seeds)] * 40
        looked = next(n for n in range(1, 41) if pool.suffices(runs[:n], [seeds] * n))
        assert looked <= processes
        assert pool.choose(runs[:looked], [seeds] * looked) == pool.choose(runs, [seeds] * 40)
    machine, runs = Stacked(torch.device("cuda")), [make(3)] * 100
    looked = next(n for n in range(1, 101) if machine.suffices(runs[:n], [3] * n))
    assert machine.choose(runs[:looked], [3] * looked) == machine.choose(runs, [3] * 100) == looked - 1


def test_a_run_that_fails_or_loses_a_process_leaves_the_next_one_alone() -> None:
    size: dict[str, Any] = {"task": LinearMapSpec(size=2, sparsity=1), "seeds": 2}
    training = TrainingSpec(steps=1, batch_sequences=4, compile=False)
    bad = RunSpec(model=CustomSpec.of(Raising, layers=1, d_model=4), training=training, **size)
    good = RunSpec(model=TransformerSpec(d_model=4, heads=1), training=training, **size)
    before = set(multiprocessing.active_children())
    pool, members = ProcessPool(2), list_members([good])
    try:
        expected = pool.open([good], members).advance(1)
        with pytest.raises(SaltusError, match="my own mistake"):
            pool.open([bad], members).advance(1)
        assert repr(pool.open([good], members).advance(1)) == repr(expected)
        first, second = sorted(set(multiprocessing.active_children()) - before, key=lambda each: each.name)
        first.kill()
        first.join()
        with pytest.raises(SaltusError, match=r"a process that trained 1 seed\(s\) ended with code"):
            pool.evaluate()
        trainer = pool.open([good], members)
        assert second.is_alive()
        assert repr(trainer.advance(1)) == repr(expected)
    finally:
        pool.close()
