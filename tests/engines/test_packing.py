"""Which runs go out together, and in which order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saltus.engines.local import STACKED_TOKENS, ProcessPool, Stacked
from saltus.engines.packing import SHARES, WORTH, list_waves, pack
from saltus.specs import DistillationSpec, LinearMapSpec, RunSpec, TrainingSpec, TransformerSpec

SHAPES = (16, 32)


def make(number: int, width: int = 16, seeds: int = 1, **changed: object) -> RunSpec:
    return RunSpec(
        name=f"cell-{number}",
        task=LinearMapSpec(size=8, sparsity=2),
        model=TransformerSpec(d_model=width, heads=2),
        training=TrainingSpec(steps=100, batch_sequences=64, learning_rate=1e-3 * (1 + number / 1000)),
        seeds=seeds,
        **changed,  # pyright: ignore[reportArgumentType]
    )


runs = st.lists(st.tuples(st.sampled_from(SHAPES), st.integers(1, 9)), max_size=24).map(
    lambda drawn: [make(number, *each) for number, each in enumerate(drawn)]
)


@given(runs, st.integers(1, 8), st.sampled_from([None, 2, 5]), st.floats(1.0, 1e4))
def test_nothing_is_lost_and_every_job_is_full_and_worth_its_start(
    specs: list[RunSpec], processes: int, slots: int | None, each: float
) -> None:
    choose = ProcessPool(processes).choose
    jobs = pack(specs, choose, lambda spec: each * spec.seeds, slots)
    assert sorted(spec.name for job in jobs for spec in job) == sorted(spec.name for spec in specs)
    total = sum(each * spec.seeds for spec in specs)
    worth = WORTH if slots is None else min(WORTH, total / (slots * SHARES))
    for shape in SHAPES:
        own = [job for job in jobs if job[0].model.d_model == shape]
        assert [spec for job in own for spec in job] == [spec for spec in specs if spec.model.d_model == shape]
        for job in own[:-1]:
            times = [each * spec.seeds for spec in job]
            last, fill, left = 0, 0, job + [spec for later in own[own.index(job) + 1 :] for spec in later]
            while fill < len(job):  # it ends where a fill of the device ends
                last = fill
                fill += choose(left[fill:], [spec.seeds for spec in left[fill:]])
            assert fill == len(job)
            assert sum(times) >= worth > sum(times[:last])  # and takes no fill more than it needs


def test_a_device_is_filled_by_the_seeds_of_many_cells() -> None:
    seeds_of_a_device = STACKED_TOKENS // (64 * make(0).task.tokens)
    specs = [make(number, seeds=seeds_of_a_device // 4) for number in range(10)]
    jobs = pack(specs, Stacked(torch.device("cuda")).choose, lambda spec: 1e4)
    assert [len(job) for job in jobs] == [4, 4, 2]
    jobs = pack(specs, Stacked(torch.device("cuda")).choose, lambda spec: WORTH / 5)  # four cells are too little
    assert [len(job) for job in jobs] == [8, 2]


def test_one_slot_gets_one_job_of_all_shapes() -> None:
    specs = [make(0), make(1, 32), make(2)]
    assert pack(specs, ProcessPool(1).choose, lambda spec: 1e9, slots=1) == [specs]
    assert pack([], ProcessPool(1).choose, lambda spec: 1e9, slots=1) == []


def test_what_is_needed_is_sent_before_what_needs_it() -> None:
    teacher = make(0)
    student = make(1, intervention=DistillationSpec(teacher=teacher.run_id, checkpoints=(100,)))
    of_student = make(2, intervention=DistillationSpec(teacher=student.run_id, checkpoints=(100,)))
    other = make(3)
    assert list_waves([of_student, student, other, teacher]) == [[other, teacher], [student], [of_student]]
    assert list_waves([student]) == [[student]]  # its teacher is finished


@pytest.mark.parametrize("slots", [None, 2])
def test_a_study_of_nothing_has_no_job(slots: int | None) -> None:
    assert pack([], ProcessPool(1).choose, lambda spec: 1.0, slots) == []
    assert list_waves([]) == []
