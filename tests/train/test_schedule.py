"""Which steps are measured, and the learning rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltus.specs import ScheduleSpec, TrainingSpec
from saltus.train.schedule import learning_rate_at


@given(st.integers(1, 50), st.floats(1.01, 20), st.integers(1, 500), st.integers(1, 3000))
def test_steps_rise_from_0_to_the_last_and_are_regular_after_the_growth(
    first: int, factor: float, every: int, steps: int
) -> None:
    listed = ScheduleSpec(first=first, factor=factor, every=every).list_steps(steps)
    assert listed[0] == 0
    assert listed[-1] == steps
    assert list(listed) == sorted(set(listed))
    regular = [step for step in listed if step >= every and step != steps]
    assert regular == list(range(every, steps, every))
    growing = [step for step in listed if 0 < step < min(every, steps)]
    assert not growing or growing[0] == first


def test_steps_of_pythia() -> None:
    listed = ScheduleSpec(first=1, factor=2, every=1000).list_steps(143_000)
    assert len(listed) == 154  # 0, 1, 2, 4, ..., 512, 1000, 2000, ..., 143000
    assert listed[:13] == (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000)


def test_the_learning_rate_warms_up_and_decays() -> None:
    constant = TrainingSpec(steps=100, batch_sequences=1, learning_rate=2.0, warmup=4)
    assert [learning_rate_at(constant, step) for step in (0, 1, 3, 4, 99)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    cosine = TrainingSpec(steps=104, batch_sequences=1, learning_rate=2.0, warmup=4, decay="cosine")
    assert learning_rate_at(cosine, 4) == 2.0
    assert learning_rate_at(cosine, 54) == pytest.approx(1.0)
    assert learning_rate_at(cosine, 103) == pytest.approx(0.0, abs=1e-3)
