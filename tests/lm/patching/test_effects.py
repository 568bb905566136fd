"""Bootstrap intervals with answers known from counting, and summaries of a patch made by hand."""

from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from saltus.lm.patching.effects import PatchSummary, bootstrap_mean, compare_rankings, summarise_effects
from saltus.lm.patching.records import PATCH_TABLES, PatchRecords
from saltus.specs.capabilities import CopyingSpec
from saltus.specs.checkpoints import PatchSpec

RECIPIENT = [0.1, 0.2, 0.0, 0.1]
DONOR = [0.5, 0.8, 0.6, 0.9]


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_two_prompts_have_three_means() -> None:
    """Resamples of {0, 1} have means 0, 1/2, 1 with chances 1/4, 1/2, 1/4."""
    wide, narrow = (bootstrap_mean([0.0, 1.0], generator(), level) for level in (0.8, 0.4))
    assert (wide.estimate, wide.lower, wide.upper, wide.level) == (0.5, 0.0, 1.0, 0.8)
    assert (narrow.estimate, narrow.lower, narrow.upper) == (0.5, 0.5, 0.5)


def test_three_prompts_are_as_in_the_list_of_all_resamples() -> None:
    """Of the 27 resamples of {0, 0, 3} the sum of threes is binomial(3, 1/3): 8, 12, 6, 1 of 27."""
    below, above = (bootstrap_mean([0.0, 0.0, 3.0], generator(), level) for level in (0.9, 0.95))
    assert (below.lower, below.upper) == (0.0, 2.0)  # the 95th percentile: 26/27 = 0.963 are at most 2
    assert (above.lower, above.upper) == (0.0, 3.0)  # the 97.5th percentile lies beyond 0.963


def test_many_prompts_give_the_normal_interval() -> None:
    values = generator(1).normal(2.0, 3.0, 400)
    interval = bootstrap_mean(values, generator(), draws=20_000)
    half = 1.96 * values.std() / 20
    assert interval.lower == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.upper == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_nine_intervals_of_ten_hold_the_mean() -> None:
    data = generator(2).exponential(1.0, (400, 40))
    intervals = [bootstrap_mean(values, generator(3), level=0.9, draws=500) for values in data]
    share = np.mean([interval.lower <= 1.0 <= interval.upper for interval in intervals])
    assert 0.83 < share < 0.93  # percentile intervals of skewed values hold a little less than they say


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [([], 0.95, "values has shape"), ([[1.0]], 0.95, "values has shape"), ([1.0], 1.0, "level is 1.0")],
)
def test_what_cannot_be_bootstrapped_is_refused(values: list[Any], level: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(values, generator(), level)


def make_records(
    effects: list[tuple[str, int, int, list[float]]],
    sets: list[tuple[str, int, list[list[int]], list[float]]],
    screen: list[tuple[int, int, list[float]]],
    donor: list[float] = DONOR,
) -> PatchRecords:
    rows: dict[str, list[tuple[Any, ...]]] = {
        "prompts": [(i, "", "", a, b) for i, (a, b) in enumerate(zip(RECIPIENT, donor, strict=True))],
        "effects": [(*key, i, p) for *key, values in effects for i, p in enumerate(values)],
        "sets": [(*key, i, p) for *key, values in sets for i, p in enumerate(values)],
        "screen": [(*key, i, p) for *key, values in screen for i, p in enumerate(values)],
    }
    tables = {
        name: pa.Table.from_pylist(
            [dict(zip(schema.names, row, strict=False)) for row in rows.get(name, [])], schema=schema
        )
        for name, schema in PATCH_TABLES.items()
    }
    spec = PatchSpec(suite="folder:none", size="tiny", recipient=1, donor=2, capability=CopyingSpec())
    return PatchRecords(path=Path(), spec=spec, **tables)


def move(values: list[float], by: float) -> list[float]:
    return [value + by for value in values]


def summarise(donor: list[float] = DONOR) -> PatchSummary:
    effects = [
        ("patch", 0, 0, move(RECIPIENT, 0.25)),
        ("patch", 0, 1, RECIPIENT),
        ("reverse", 0, 0, move(DONOR, -0.5)),
        ("zero", 0, 1, [DONOR[0] - 0.125, DONOR[1] - 0.375, nan, nan]),
        ("resample", 0, 1, [nan] * 4),
    ]
    halfway = [(a + b) / 2 for a, b in zip(RECIPIENT, DONOR, strict=True)]
    sets: list[tuple[str, int, list[list[int]], list[float]]] = [
        ("greedy", 0, [[0, 1]], halfway),
        ("greedy", 0, [[0, 1], [0, 0]], DONOR),
        ("random", 3, [[0, 0]], RECIPIENT),
        ("random", 4, [[0, 0]], [0.5, 0.2, 0.0, 0.1]),
    ]
    screen = [(0, 0, [0.2] * 4), (0, 1, [0.1] * 4)]
    return summarise_effects(make_records(effects, sets, screen, donor), generator())


def test_effects_are_changes_of_the_model_that_was_patched() -> None:
    by_key = {(head.kind, head.layer, head.head): head.effect for head in summarise().heads}
    patch, nothing = by_key["patch", 0, 0], by_key["patch", 0, 1]
    assert (patch.estimate, patch.lower, patch.upper) == pytest.approx((0.25, 0.25, 0.25))
    assert (nothing.estimate, nothing.lower, nothing.upper) == (0.0, 0.0, 0.0)
    assert by_key["reverse", 0, 0].estimate == pytest.approx(-0.5)


def test_effects_in_log_probability_tell_small_ones_apart() -> None:
    """Ten times and a hundred times a probability that is next to nothing."""
    tiny = [1e-12] * 4
    records = make_records(
        [("patch", 0, 0, [1e-11] * 4), ("patch", 0, 1, [1e-10] * 4)], [], [(0, 0, tiny), (0, 1, tiny)]
    )
    prompts = records.prompts.set_column(3, "recipient", [pa.array(tiny, pa.float64())])
    ten, hundred = summarise_effects(replace(records, prompts=prompts), generator()).heads
    assert ten.effect.estimate == pytest.approx(9e-12)
    for found, times in ((ten, 10), (hundred, 100)):
        assert found.log_effect.estimate == pytest.approx(np.log(times))
        assert found.log_effect.lower == pytest.approx(np.log(times))
    gone = make_records([("patch", 0, 0, [0.0] * 4)], [], [(0, 0, tiny)])
    [head] = summarise_effects(gone, generator()).heads
    assert np.isfinite([head.log_effect.lower, head.log_effect.upper]).all()  # of a probability that underflowed


def test_effects_in_logit_difference_are_of_prompts_with_a_foil() -> None:
    """Two nats more than the unpatched recipient's, on the only prompt that has a foil."""
    records = make_records([("patch", 0, 0, RECIPIENT), ("reverse", 0, 0, DONOR)], [], [(0, 0, [0.0] * 4)])
    before, after = [1.0, None, None, None], [5.0, None, None, None]
    prompts = records.prompts.set_column(5, "recipient_difference", [pa.array(before, pa.float64())])
    prompts = prompts.set_column(6, "donor_difference", [pa.array(after, pa.float64())])
    effects = records.effects.set_column(5, "difference", [pa.array([3.0, *[None] * 3] * 2, pa.float64())])
    patch, reverse = summarise_effects(replace(records, prompts=prompts, effects=effects), generator()).heads
    assert (patch.difference.estimate, patch.difference.lower, patch.difference.upper) == (2.0, 2.0, 2.0)
    assert reverse.of("logit-difference").estimate == -2.0
    assert np.isnan(summarise().heads[0].difference.estimate)


def test_prompts_that_could_not_be_measured_do_not_count() -> None:
    by_key = {(head.kind, head.layer, head.head): head.effect for head in summarise().heads}
    known, unknown = by_key["zero", 0, 1], by_key["resample", 0, 1]
    assert (known.estimate, known.lower, known.upper) == pytest.approx((-0.25, -0.375, -0.125))
    assert np.isnan([unknown.estimate, unknown.lower, unknown.upper]).all()


def test_sets_are_given_as_shares_of_the_gain() -> None:
    half, whole, none, one = summarise().sets
    assert (half.kind, half.draw, half.heads) == ("greedy", 0, ((0, 1),))
    assert whole.heads == ((0, 1), (0, 0))
    for chosen, share in ((half, 0.5), (whole, 1.0), (none, 0.0)):  # the same on every prompt: no spread
        assert (chosen.share.estimate, chosen.share.lower, chosen.share.upper) == pytest.approx((share,) * 3)
    assert half.probability.estimate == pytest.approx(0.4)
    assert (none.draw, one.draw) == (3, 4)
    assert one.share.estimate == pytest.approx(0.4 / 2.4)
    # resamples with k of 4 times the first prompt: none with chance .316, at least 3 with chance .051
    assert one.share.lower == 0.0
    assert 0.35 < one.share.upper < 0.75


def test_without_a_gain_there_is_no_share() -> None:
    for chosen in summarise(donor=RECIPIENT).sets:
        assert np.isnan([chosen.share.estimate, chosen.share.lower, chosen.share.upper]).all()
        assert chosen.probability.lower <= chosen.probability.estimate <= chosen.probability.upper


def test_rankings_are_compared_by_rank_correlation_and_overlap() -> None:
    assert compare_rankings([1.0, 2.0, 3.0], [10.0, 20.0, 90.0], first=2).spearman == pytest.approx(1.0)
    agreement = compare_rankings([4.0, 3.0, 2.0, 1.0], [3.0, 1.0, 9.0, 0.0], first=2)
    assert agreement.overlap == 0.5  # {0, 1} and {2, 0}
    # differences of ranks 1, 1, 2, 0: 1 - 6 * 6 / (4 * 15)
    assert agreement.spearman == pytest.approx(0.4)
    values = generator().normal(size=(2, 50)).round(1)  # with ties
    assert compare_rankings(*values, first=5).spearman == pytest.approx(stats.spearmanr(*values)[0])
    assert compare_rankings([1.0, 2.0], [2.0, 1.0], first=5) == compare_rankings([1.0, 2.0], [2.0, 1.0], first=2)
    assert np.isnan(compare_rankings([1.0, 1.0], [2.0, 1.0], first=1).spearman)
    with pytest.raises(ValueError, match="one value for each head in both"):
        compare_rankings([1.0], [2.0, 1.0], first=1)


def test_the_screen_is_compared_with_the_exact_patches() -> None:
    agreement = summarise().screen
    assert (agreement.spearman, agreement.overlap, agreement.first) == (pytest.approx(1.0), 1.0, 2)
