"""Changes are confirmed as `find_emergence` finds them, as soon as they can be."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saltus.curves import Curve, Key, Rule, find_emergence
from saltus.monitor.events import Changes, Watch, say
from saltus.monitor.records import Event, Row
from saltus.specs.monitor import MonitorSpec

SPEC = MonitorSpec(group="mine", capabilities=("copying",), patterns=("induction", "first_token"), sha256="0", hold=2)


@given(st.lists(st.sampled_from([0.0, 1.0, float("nan")]), min_size=1, max_size=14), st.integers(1, 3))
def test_first_gain_and_first_loss_are_those_of_the_curve(values: list[float], hold: int) -> None:
    watch, told = Watch(1, hold), list[tuple[int, int, int]]()
    for place, value in enumerate(values):
        if len(watch.feed(10 * place, np.array([value >= 0.5]), np.array([np.isfinite(value)]))):
            told.append((int(watch.after[0]), int(watch.by[0]), 10 * place))
    known = [place for place, value in enumerate(values) if np.isfinite(value)]
    if not known:
        assert told == []
        return
    steps, array = np.array([10 * place for place in known]), np.array([values[place] for place in known])
    found = find_emergence(Curve(Key("", "", ""), steps, array), Rule(above=0.5, hold=hold))
    assert [(after, by) for after, by, _ in told[:1]] == ([] if found.by is None else [(found.after, found.by)])
    assert [by for _, by, _ in told[1:2]] == ([] if found.lost is None else [found.lost])
    for _, by, confirmed in told:  # at the earliest probe at which it can be known
        assert sum(by <= step <= confirmed for step in steps) == hold


def make_row(step: int, share: float, *masses: float) -> Row:
    """One layer of two heads."""
    return Row(step, 1.0, 0.0, shares={"copying": share}, masses=np.array(masses).reshape(1, 2, 2))


def test_capabilities_and_heads_are_told_with_where_and_when() -> None:
    changes = Changes(SPEC, [0.2, 0.2])  # a head is sharp from .6 on
    rows = [
        make_row(0, 0.0, 0.2, 0.7, 0.2, 0.2),  # layer 0 head 0 looks at the first token from the start
        make_row(10, 0.8, 0.59, 0.7, 0.9, 0.2),
        make_row(20, 0.8, 0.61, 0.7, 0.9, 0.2),
        make_row(30, 0.1, 0.61, 0.2, 0.9, 0.2),
        make_row(40, 0.0, 0.5, 0.2, 0.9, 0.2),
    ]
    told = [
        (event.step, event.kind, event.unit, event.head, event.after, event.by)
        for row in rows
        for event in changes.feed(row)
    ]
    assert told == [
        (10, "sharpened", "first_token", 0, -1, 0),
        (20, "emerged", "copying", -1, 0, 10),
        (20, "sharpened", "induction", 1, 0, 10),
        (30, "sharpened", "induction", 0, 10, 20),
        (40, "lost", "copying", -1, 20, 30),
        (40, "blurred", "first_token", 0, 20, 30),
    ]


def test_a_model_that_grows_is_followed_anew() -> None:
    """A layer is added after step 20: another head of the same name could be another head."""
    changes, told = Changes(SPEC, [0.2, 0.2]), list[tuple[str, int, int]]()
    for step in range(0, 60, 10):
        layers = 1 if step <= 20 else 2
        masses = np.full((layers, 1, 2), 0.2)
        masses[-1] = 0.9 if step >= 40 else 0.2
        row = Row(step, 1.0, 0.0, shares={"copying": float(step >= 30)}, masses=masses)
        told += [(event.kind, event.layer, event.by) for event in changes.feed(row)]
    assert told == [("emerged", -1, 30), ("sharpened", 1, 40), ("sharpened", 1, 40)]


def test_a_probe_that_failed_is_as_if_it_had_not_been() -> None:
    changes = Changes(SPEC, [0.2, 0.2])
    assert changes.feed(make_row(0, 0.9, *[0.9] * 4)) == []
    assert changes.feed(Row(10, 1.0, 0.0)) == []
    events = changes.feed(make_row(20, 0.9, *[0.9] * 4))
    assert {(event.after, event.by) for event in events} == {(-1, 0)}
    assert len(events) == 5


def test_heads_that_change_alike_are_one_line() -> None:
    heads = [Event("sharpened", 30, "induction", 10, 20, 0.9, 1, head, f"head {head}") for head in range(8)]
    alone = Event("emerged", 30, "copying", 10, 20, 0.9, text="copying emerged")
    assert say([alone, *heads]) == [
        "step 30: copying emerged",
        "step 30: 8 heads sharpened to induction: 1.0, 1.1, 1.2, 1.3, 1.4, 1.5 and 2 more (layer.head)",
    ]
