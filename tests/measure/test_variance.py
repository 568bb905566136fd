"""The variance split: a calibrated posterior, recovery under censoring, what each design can tell, and bad input."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from saltus.errors import SaltusError
from saltus.measure.variance import VarianceSplit, split_variance
from saltus.measure.variance_draws import draw_spreads

Sample = tuple[NDArray[Any], ...]
"""Both ends, map, seed and row, all [unit]."""


def make(
    design: tuple[int, int, int],
    spreads: tuple[float, float, float, float],
    budget: float = 5000.0,
    seed: int = 0,
    median: float = 1000.0,
) -> Sample:
    """A sample with these spreads of map, seed, row and rest, evaluated every 50 steps."""
    generator = np.random.default_rng(seed)
    maps, seeds, rows = design
    m, s, r = (axis.ravel() for axis in np.meshgrid(*map(np.arange, design), indexing="ij"))
    logs = np.log(median) + spreads[0] * generator.normal(size=maps)[m] + spreads[3] * generator.normal(size=len(m))
    logs += spreads[1] * generator.normal(size=(maps, seeds))[m, s]
    logs += spreads[2] * generator.normal(size=(maps, rows))[m, r]
    grid = np.arange(0.0, budget + 1.0, 50.0)
    at = np.searchsorted(grid, np.exp(logs))
    return grid[at - 1], np.append(grid, np.inf)[at], m, s, r


def split(sample: Sample, draws: int = 200) -> VarianceSplit:
    left, right, *labels = sample
    m, s, r = labels
    return split_variance(left, right, m, s, r, np.random.default_rng(1), draws=draws)


def test_truths_from_the_prior_lie_anywhere_in_their_posteriors_alike() -> None:
    """Ranks of the truth among the draws are uniform (Cook, Gelman and Rubin, JCGS 15, 2006).

    The level is uniform within a cell of the grid of log steps, which with a flat prior comes to the same.
    """
    generator, samples = np.random.default_rng(3), 160
    m, s, r = (axis.ravel() for axis in np.meshgrid(range(3), range(2), range(3), indexing="ij"))
    parts = [m, 2 * m + s, 3 * m + r]
    truth = np.abs(generator.standard_cauchy((4, samples, 1)))  # [part, sample, 1]
    logs = generator.uniform(0.0, 0.5, (samples, 1)) + truth[3] * generator.normal(size=(samples, len(m)))
    for part, spread in zip(parts, truth, strict=False):
        logs += spread * generator.normal(size=(samples, int(part.max()) + 1))[:, part]
    low = 0.5 * np.floor(logs / 0.5)
    drawn = draw_spreads(low, low + 0.5, parts, 200, generator)
    ranks = (drawn < truth).mean(axis=2)
    for part in range(4):
        assert stats.kstest(ranks[part], "uniform").pvalue > 0.005, part


def test_known_spreads_are_found_again() -> None:
    spreads = (0.3, 0.4, 0.2, 0.25)
    found = split(make((6, 6, 4), spreads), draws=400)
    assert list(found.spreads) == ["map", "seed", "row", "rest"]
    assert (found.maps, found.seeds, found.rows, found.units) == (6, 36, 24, 144)
    for truth, part in zip(spreads, found.spreads, strict=True):
        assert found.spreads[part].lower < truth < found.spreads[part].upper, part
        share = truth**2 / sum(each**2 for each in spreads)
        assert found.shares[part].lower < share < found.shares[part].upper, part
    assert found.spreads["rest"].value == pytest.approx(0.25, rel=0.1)
    assert found.spreads["seed"].value == pytest.approx(0.4, rel=0.25)
    assert found.agreement is not None
    assert found.agreement.lower < 0.2**2 / (0.2**2 + 0.25**2) < found.agreement.upper
    assert found.converged


def test_seeds_that_had_not_come_count_as_later_and_not_as_gone() -> None:
    """Of seeds of which half are censored at the median, those that came alone would look half as far apart."""
    left, right, *labels = make((1, 40, 2), (0.0, 0.5, 0.0, 0.1), budget=1000.0)
    came = np.isfinite(right)
    assert 0.4 < came.mean() < 0.6
    spread = split((left, right, *labels)).spreads["seed"]
    assert spread.lower < 0.5 < spread.upper
    gone = split((left[came], right[came], *(label[came] for label in labels))).spreads["seed"]
    assert gone.upper < 0.5
    late = split((left, np.where(came, right, 1050.0), *labels)).spreads["seed"]
    assert late.upper < 0.5


def test_the_parts_are_those_that_the_design_tells() -> None:
    def parts(design: tuple[int, int, int]) -> list[str]:
        return list(split(make(design, (0.3, 0.3, 0.3, 0.2)), draws=50).spreads)

    assert parts((1, 4, 4)) == ["seed", "row", "rest"]
    assert parts((3, 3, 1)) == ["map", "rest"]
    own = split(make((6, 1, 4), (0.3, 0.3, 0.3, 0.2)), draws=50)  # a map for each seed
    assert (list(own.spreads), own.confounded, own.agreement) == (["seed", "rest"], True, None)
    assert not split(make((3, 3, 2), (0.3, 0.3, 0.3, 0.2)), draws=50).confounded


def test_names_of_seeds_and_rows_belong_to_their_map() -> None:
    left, right, m, s, r = make((3, 3, 4), (0.3, 0.3, 0.3, 0.2))
    assert split((left, right, m, s, r), 50) == split((left, right, m + 7, s + 10 * m, r + 10 * m), 50)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ((1, 1, 8), "there is one seed; how much seeds differ takes two or more"),
        ((1, 8, 1), "there are 1 maps and 8 seeds with one row each, so that all of the spread is one part"),
        ((8, 1, 1), "there are 8 maps and 8 seeds with one row each"),
        ((20, 20, 20), "there are 820 maps, seeds and rows; at most 600"),
    ],
)
def test_a_design_that_tells_nothing_is_refused(design: tuple[int, int, int], message: str) -> None:
    with pytest.raises(SaltusError, match=message):
        split(make(design, (0.3, 0.3, 0.3, 0.2)))


def test_steps_that_tell_nothing_are_refused() -> None:
    left, right, *labels = make((2, 3, 4), (0.3, 0.3, 0.3, 0.2))
    with pytest.raises(SaltusError, match="0 of 24 units emerged, and fewer than two"):
        split((left, np.full(24, np.inf), *labels))
    with pytest.raises(SaltusError, match="24 of 24 units emerged, and fewer than two of them between two evaluations"):
        split((np.zeros(24), right, *labels))
    with pytest.raises(SaltusError, match="24 units were there at step 0"):
        split((np.full(24, -1.0), np.zeros(24), *labels))
    with pytest.raises(SaltusError, match="a row of one seed and map is there twice"):
        split((left, right, labels[0], labels[1], np.zeros(24, dtype=np.int64)))
    with pytest.raises(ValueError, match=r"rows has shape \(3,\)"):
        split((left, right, labels[0], labels[1], np.arange(3)))
