"""Kaplan-Meier against published numbers.

The 6-MP data: weeks of remission of 42 children with acute leukaemia, Freireich et al., Blood 21 (1963) 699-716; the
sample of Gehan (1965) and Cox (1972). Estimates and numbers at risk are those of Kleinbaum and
Klein, Survival Analysis: A Self-Learning Text, chapter 2 ("remission data").
"""

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from saltus.measure.survival import SurvivalCurve, estimate_survival

TREATED = "6 6 6 6* 7 9* 10 10* 11* 13 16 17* 19* 20* 22 23 25* 32* 32* 34* 35*"  # 6-MP; * is censored
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"


def parse(text: str) -> tuple[list[float], list[bool]]:
    return [float(mark.rstrip("*")) for mark in text.split()], [not mark.endswith("*") for mark in text.split()]


def points_with_events(curve: SurvivalCurve) -> SurvivalCurve:
    keep = curve.events > 0
    columns = ("times", "survival", "lower", "upper", "at_risk", "events", "censored")
    return SurvivalCurve(**{name: getattr(curve, name)[keep] for name in columns}, level=curve.level)


def test_treated_arm() -> None:
    curve = estimate_survival(*parse(TREATED))
    assert curve.median == 23.0
    assert curve.censored.sum() == 12
    events = points_with_events(curve)
    assert_array_equal(events.times, [6, 7, 10, 13, 16, 22, 23])
    assert_array_equal(events.at_risk, [21, 17, 15, 12, 11, 7, 6])
    assert_array_equal(events.events, [3, 1, 1, 1, 1, 1, 1])
    assert_allclose(events.survival, [0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482], atol=5e-5)


def test_treated_arm_band_by_hand() -> None:
    events = points_with_events(estimate_survival(*parse(TREATED)))
    survival = np.array([6 / 7, 96 / 119, 64 / 85, 176 / 255, 32 / 51, 64 / 119, 160 / 357])  # the products, by hand
    greenwood = np.cumsum(
        [3 / (21 * 18), 1 / (17 * 16), 1 / (15 * 14), 1 / (12 * 11), 1 / (11 * 10), 1 / (7 * 6), 1 / 30]
    )
    assert_allclose(events.survival, survival, rtol=1e-12)
    reach = 1.959963984540054 * np.sqrt(greenwood) / np.log(survival)  # of log(-log S)
    assert_allclose(events.lower, np.exp(-np.exp(np.log(-np.log(survival)) - reach)), rtol=1e-12)
    assert_allclose(events.upper, np.exp(-np.exp(np.log(-np.log(survival)) + reach)), rtol=1e-12)


def test_placebo_arm() -> None:
    times, observed = parse(PLACEBO)
    curve = estimate_survival(times, observed)
    assert curve.median == 8.0
    assert curve.survival[-1] == 0.0
    # first two rows of Stata's `sts list` for this arm, whose band is log-log as well; G. Rodriguez, The Gehan Survival
    # Data, data.princeton.edu/pop509/gehan.html
    assert_array_equal(curve.at_risk[1:3], [21, 19])
    assert_allclose(curve.survival[1:3], [0.9048, 0.8095], atol=5e-5)
    assert_allclose(curve.lower[1:3], [0.6700, 0.5689], atol=5e-5)
    assert_allclose(curve.upper[1:3], [0.9753, 0.9239], atol=5e-5)


def test_band_of_r() -> None:
    """R: survfit(Surv(time, status) ~ 1, conf.type = "log-log", conf.int = 0.90), survival package.

    Data from www.real-statistics.com, "Confidence interval for the survival function"; R's numbers as recorded in
    scipy 1.17, stats/tests/test_survival.py, test_right_censored_ci_example_5.
    """
    time = [3, 5, 8, 10, 5, 5, 8, 12, 15, 14, 2, 11, 10, 9, 12, 5, 8, 11]
    status = [1, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    lower = [0.74366748406861172, 0.68582332289196246, 0.50596835651480121, 0.32913131413336727, 0.32913131413336727]
    lower += [0.32913131413336727, 0.15986912028781664, 0.04499539918147757, 0.04499539918147757, 0.04499539918147757]
    upper = [0.9890291867238429, 0.9638835422144144, 0.8560366823086629, 0.7130167643978450, 0.7130167643978450]
    upper += [0.7130167643978450, 0.5678602982997164, 0.3887616766886558, 0.3887616766886558, 0.3887616766886558]
    curve = estimate_survival(time, np.array(status) == 1, level=0.90)
    assert_array_equal(curve.times[1:], [2, 3, 5, 8, 9, 10, 11, 12, 14, 15])
    assert_allclose(curve.lower[1:], lower, rtol=1e-7)
    assert_allclose(curve.upper[1:], upper, rtol=1e-7)
