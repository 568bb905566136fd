"""Which came first: by hand, and against every order of true steps that intervals allow."""

from hypothesis import given
from hypothesis import strategies as st

from saltus.curves import Emergence, Key
from saltus.measure.precedence import compare_order


def came(seed: int, after: int, by: int | None) -> Emergence:
    return Emergence(after, by, key=Key("14m", str(seed), "unit"))


def test_every_kind_of_pair_is_counted() -> None:
    first = [came(0, 10, 20), came(1, 40, 50), came(2, 10, 20), came(3, 90, None), came(4, 10, 20), came(5, 90, None)]
    second = [came(0, 20, 40), came(1, 10, 20), came(2, 10, 20), came(3, 90, None), came(4, 90, None), came(5, 20, 40)]
    order = compare_order(first, [*second, came(9, 0, 10)])  # of another seed
    assert (order.before, order.after, order.untold, order.neither, order.seeds) == (2, 2, 1, 1, 6)
    assert order.leads == (-30, 0, 20)
    assert order.median_lead == 0.0
    assert compare_order([came(0, 5, None)], [came(0, 5, None)]).median_lead is None


ENDS = st.tuples(st.integers(-1, 6), st.integers(1, 4) | st.none()).map(
    lambda pair: came(0, pair[0], None if pair[1] is None else pair[0] + pair[1])
)


@given(ENDS, ENDS)
def test_an_order_is_told_exactly_where_all_true_steps_agree(one: Emergence, other: Emergence) -> None:
    def steps(emergence: Emergence) -> list[float]:
        end = emergence.after + 20 if emergence.by is None else emergence.by
        return [float(step) for step in range(emergence.after + 1, end + 1)]

    order = compare_order([one], [other])
    if one.by is None and other.by is None:
        assert order.neither == 1
        return
    orders = {a < b for a in steps(one) for b in steps(other) if a != b}
    ties = any(a == b for a in steps(one) for b in steps(other))
    assert order.before == (orders == {True} and not ties)
    assert order.after == (orders == {False} and not ties)
