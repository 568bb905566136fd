"""Numbers of seeds against published ones."""

from math import ceil

import pytest

from saltus.measure.closed_forms import bound_unseen, count_events, count_for_hazard, count_for_order, count_to_see
from saltus.measure.intervals import bound_share


def test_noether() -> None:
    # Bouthillier et al., arXiv 2103.03098, appendix C.3: probability .75, alpha and beta .05, one-sided, for each arm
    each = count_for_order(0.75, alpha=0.05, power=0.95, two_sided=False) / 2
    assert each == pytest.approx(28.86, abs=0.005)
    assert ceil(each) == 29
    assert count_for_order(0.349) == pytest.approx(114.74467, abs=5e-6)
    assert count_for_order(0.651) == pytest.approx(114.74467, abs=5e-6)


def test_schoenfeld() -> None:
    assert [count_events(ratio) for ratio in (1.5, 2, 3)] == [191, 66, 27]
    assert [count_events(1 / ratio) for ratio in (1.5, 2, 3)] == [191, 66, 27]
    assert count_for_hazard(2, 0.5) == 132
    assert count_for_hazard(2, 1.0) == 66


def test_to_see_once() -> None:
    assert count_to_see(0.1) == 29
    assert count_to_see(1.0) == 1
    assert count_to_see(0.95) == 1
    assert 1 - 0.9**29 >= 0.95 > 1 - 0.9**28


def test_none_of_ten() -> None:
    assert bound_unseen(10) == pytest.approx(0.259, abs=5e-4)
    assert bound_unseen(10) == pytest.approx(bound_share(0, 10, 0.9).upper)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="which is no difference"):
        count_for_order(0.5)
    with pytest.raises(ValueError, match="probability is nan"):
        count_for_order(float("nan"))
    with pytest.raises(ValueError, match="hazard_ratio is 1"):
        count_events(1)
    with pytest.raises(ValueError, match="power is 80"):
        count_events(2, power=80)
    with pytest.raises(ValueError, match="share is 0"):
        count_to_see(0)
    with pytest.raises(ValueError, match="seeds is 0"):
        bound_unseen(0)
