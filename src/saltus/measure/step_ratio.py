"""The factor between the steps of two arms, with the interval that belongs to the permutation test.

If arm B takes `ratio` times the steps of arm A and the shapes are otherwise equal, then B's steps divided by the ratio
are exchangeable with A's. All ratios that `compare_arms` does not reject form the confidence interval (for exact steps:
Hodges and Lehmann 1963). It holds for any number of seeds, and excludes 1 where the test rejects, but for the little
that the grid of evaluations adds.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from saltus.measure.contrasts import Sample
from saltus.measure.interval_tests import compare_arms
from saltus.measure.intervals import Estimate, Floats, check_intervals, check_level
from saltus.measure.scores import ScoreKind

_WIDEST = 1e4
"""No ratio beyond this is looked for."""


def bound_step_ratio(
    a: Sample,
    b: Sample,
    generator: np.random.Generator,
    *,
    seeds: tuple[ArrayLike, ArrayLike] | None = None,
    paired: bool = False,
    level: float = 0.95,
    kind: ScoreKind = "wilcoxon",
) -> Estimate:
    """Steps of arm B over those of arm A, from intervals (left, right] [unit] of both; see `measure.intervals`.

    `seeds`, `paired` and `kind` are as in `compare_arms`. The value is the ratio at which the arms look most alike,
    None where an arm has too few events to say. Limits are found to within 1%; they are 0 and inf where so few seeds
    cannot reject anything. When B's steps are divided, so is its budget: both arms are cut at the smaller one. The
    grids of evaluations then differ, so the interval is exact only as far as they are fine.
    """
    check_level(level)
    ends_a, ends_b = check_intervals(*a, arm="arm A"), check_intervals(*b, arm="arm B")
    arm = np.repeat([0, 1], [len(ends_a[0]), len(ends_b[0])])
    labels = None if seeds is None else np.concatenate([np.asarray(seeds[0]), np.asarray(seeds[1])])
    state = int(generator.integers(2**62))  # every ratio is tried with the same permutations

    def test(log_ratio: float) -> tuple[float, float]:
        """P-value, and A's excess of scores: above 0 where A is sooner than B divided by the ratio."""
        left, right = _align(ends_a, ends_b, float(np.exp(log_ratio)))
        found = compare_arms(left, right, arm, np.random.default_rng(state), seeds=labels, paired=paired, kind=kind)
        return found.p_value, round(found.excess[0], 7)

    least, most = -np.log(_WIDEST), np.log(_WIDEST)
    # where the scores balance over a range of ratios, its middle
    ends = [_halve(lambda x: test(x)[1] > 0.0, least, most), _halve(lambda x: test(x)[1] >= 0.0, least, most)]
    middle = sum(ends) / 2
    told = test(least)[1] > 0.0 > test(most)[1]
    out = 1.0 - level + 1e-12
    lower, upper = 0.0, np.inf
    if test(least)[0] <= out:
        lower = np.exp(_halve(lambda x: test(x)[0] <= out, least, middle))
    if test(most)[0] <= out:
        upper = np.exp(_halve(lambda x: test(x)[0] > out, middle, most))
    return Estimate(float(np.exp(middle)) if told else None, float(lower), float(upper), level)


def _align(a: tuple[Floats, Floats], b: tuple[Floats, Floats], ratio: float) -> tuple[Floats, Floats]:
    """Both arms with B's steps divided by the ratio, and no unit watched for longer than any other."""
    left = np.concatenate([a[0], np.where(b[0] < 0.0, b[0], b[0] / ratio)])
    right = np.concatenate([a[1], b[1] / ratio])
    budget = left[np.isinf(right)].min(initial=np.inf)
    return np.minimum(left, budget), np.where(right <= budget, right, np.inf)


def _halve(before: Callable[[float], bool], low: float, high: float) -> float:
    """Where `before`, true at `low`, becomes false on the way to `high`, to within 1% of a ratio."""
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if before(middle) else (low, middle)
    return (low + high) / 2
