"""By how much two arms differ: ratio of median steps, difference of solve shares and of restricted means, with limits.

The limits put the two arms' confidence distributions together ("melding": Fay, Proschan and Brittain, Biometrics 71,
2015): draws for one arm are set against draws for the other, each with the ends of the cells that are the less kind.
The distributions are those of `measure.bootstrap`, over seeds; a draw takes the pseudo-seed of the lower or of the
upper limit at random, which is the mid-p form. Paired arms share the weights of their seeds. No shape of the
distributions is assumed; `measure.step_ratio` is sharper, and assumes one.

`left`, `right` [unit] are intervals (left, right]; see `measure.intervals` for the ends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from saltus.measure.bootstrap import (
    DRAWS,
    MassDraws,
    SeedBootstrap,
    bootstrap_seeds,
    draw_weights,
    find_limits,
    weigh_seeds,
)
from saltus.measure.intervals import Estimate, Floats, check_intervals, check_seeds

Sample = tuple[ArrayLike, ArrayLike]
"""Left and right ends, both [unit]."""


@dataclass(frozen=True)
class Contrast:
    """Arm B against arm A."""

    median_ratio: Estimate
    """Median step of B over that of A: below 1, B is sooner. 0 and inf where one of them does not reach it."""
    share_difference: Estimate
    """Share of B's units that emerge by the horizon, less A's."""
    mean_difference: Estimate
    """Restricted mean of B, in steps (the mean of the step or the horizon, the smaller one), less A's."""
    horizon: float
    """In steps."""
    paired: bool


def contrast_arms(
    a: Sample,
    b: Sample,
    generator: np.random.Generator,
    *,
    horizon: float | None = None,
    seeds: tuple[ArrayLike, ArrayLike] | None = None,
    paired: bool = False,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Contrast:
    """How arm B differs from arm A.

    Args:
        a: intervals of arm A.
        b: intervals of arm B.
        generator: draws the weights of the seeds.
        horizon: in steps; by default the last step until which both arms were watched (see `find_horizon`).
        seeds: labels [unit] of A and of B; units with the same label are rows of one run. None: each unit is a run.
        paired: the same label in both arms is the same seed, which then has one weight; needs `seeds`.
        level: of the intervals.
        draws: of weights.

    Raises:
        ValueError: if a sample is none, or a pair lacks an arm.

    """
    ends_a, ends_b = check_intervals(*a, arm="arm A"), check_intervals(*b, arm="arm B")
    horizon = find_horizon([ends_a, ends_b]) if horizon is None else horizon
    if paired:
        boot_a, boot_b = _bootstrap_pairs(ends_a, ends_b, seeds, generator, draws)
    else:
        labels = seeds or (None, None)
        boot_a = bootstrap_seeds(*ends_a, generator, labels[0], draws)
        boot_b = bootstrap_seeds(*ends_b, generator, labels[1], draws)
    medians = [np.array(boot.estimate.place_quantile(0.5)) for boot in (boot_a, boot_b)]
    ratio = float(_divide(medians[1], medians[0]))
    solved = [boot.solved_by(horizon).value for boot in (boot_a, boot_b)]
    means = [boot.estimate.place_restricted_mean(horizon) for boot in (boot_a, boot_b)]
    meld = partial(_meld, boot_a, boot_b, generator, level)
    return Contrast(
        median_ratio=meld(lambda masses: masses.quantile(0.5), _divide, None if np.isnan(ratio) else ratio),
        share_difference=meld(lambda masses: _solve(masses, horizon), np.subtract, _subtract(*solved)),
        mean_difference=meld(lambda masses: masses.restricted_mean(horizon), np.subtract, _subtract(*means)),
        horizon=horizon,
        paired=paired,
    )


def find_horizon(samples: list[tuple[Floats, Floats]]) -> float:
    """The last step until which every unit of every sample was watched, or had emerged.

    It is the first step at which a unit was last seen without the unit; without any such unit, the last right end.
    """
    left, right = (np.concatenate(ends) for ends in zip(*samples, strict=True))
    censored = np.isinf(right)
    last = float(left[censored].min()) if censored.any() else float(right.max())
    return max(last, 1.0)


def _bootstrap_pairs(
    a: tuple[Floats, Floats],
    b: tuple[Floats, Floats],
    seeds: tuple[ArrayLike, ArrayLike] | None,
    generator: np.random.Generator,
    draws: int,
) -> tuple[SeedBootstrap, SeedBootstrap]:
    if seeds is None:
        raise ValueError("paired is True without seeds; a pair is a label that both arms have")
    labels = [np.asarray(given) for given in seeds]
    numbers = [check_seeds(given, len(arm[0])) for given, arm in zip(labels, (a, b), strict=True)]
    if set(labels[0].tolist()) != set(labels[1].tolist()):
        alone = sorted(map(str, set(labels[0].tolist()) ^ set(labels[1].tolist())))
        raise ValueError(f"seed {alone[0]} is in one arm alone; paired allows those in both, so leave out the others")
    weights = draw_weights(int(numbers[0].max()) + 1, generator, draws)
    return weigh_seeds(*a, numbers[0], weights), weigh_seeds(*b, numbers[1], weights)


def _meld(
    a: SeedBootstrap,
    b: SeedBootstrap,
    generator: np.random.Generator,
    level: float,
    measure: Callable[[MassDraws], tuple[Floats, Floats]],
    compare: Callable[[Floats, Floats], Floats],
    value: float | None,
) -> Estimate:
    """`value` with limits for `compare` of B's and A's `measure`, whose two results are its ends over cells, [draw]."""
    low: list[Floats] = []
    high: list[Floats] = []
    for boot in (a, b):
        soonest, latest = measure(boot.soonest), measure(boot.latest)
        coin = generator.random((2, len(soonest[0]))) < 0.5
        low.append(np.where(coin[0], soonest[0], latest[0]))
        high.append(np.where(coin[1], soonest[1], latest[1]))
    lowest, highest = compare(low[1], high[0]), compare(high[1], low[0])
    lower, _ = find_limits(np.where(np.isnan(lowest), 0.0, lowest), level)  # of ratios alone
    _, upper = find_limits(np.where(np.isnan(highest), np.inf, highest), level)
    return Estimate(value, float(lower), float(upper), level)


def _solve(masses: MassDraws, horizon: float) -> tuple[Floats, Floats]:
    """[draw] least and greatest share that has emerged by the horizon."""
    least, greatest = masses.survive(horizon)
    return 1.0 - greatest[:, 0], 1.0 - least[:, 0]


def _divide(b: Floats, a: Floats) -> Floats:
    """Ratios of steps from 0 to inf; NaN where both are 0 or both are inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return b / a


def _subtract(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a
