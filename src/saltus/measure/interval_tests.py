"""Permutation tests that arms emerge alike, from intervals as they are: exact for few seeds, Monte Carlo for more.

`left`, `right` [unit] are intervals (left, right]; see `measure.intervals` for the ends. What is permuted is the seed:
the units of a run keep together, and their scores are added up. A permutation test holds its level for any number of
seeds if the arms would be exchangeable without an effect: the same grid of evaluations and the same budget in all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import comb, prod, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from saltus.measure.intervals import Floats, check_intervals
from saltus.measure.scores import ScoreKind, score_units

EXACT = 20_000
"""Up to so many distinct permutations, all are tried: 8 seeds against 8 have 12,870."""

DRAWS = 9_999
"""Permutations drawn where there are more."""

_TIE = 1e-6
"""Statistics that differ by less, as a share of the greatest, are ties: scores are as exact as Turnbull's masses."""


@dataclass(frozen=True)
class IntervalTest:
    """Whether arms differ by more than the shuffling of their seeds explains."""

    kind: ScoreKind
    arms: tuple[str, ...]
    """Sorted labels."""
    seeds: tuple[int, ...]
    """Runs of each arm."""
    excess: tuple[float, ...]
    """Sum of scores of each arm (U), less what is expected: above 0 where the arm emerges sooner than the others."""
    z: float | None
    """The first arm's excess in standard deviations over permutations; None for more than two arms or equal scores."""
    statistic: float | None
    """Quadratic form of the excesses, z squared for two arms; None where all scores are equal."""
    p_approximate: float | None
    """From the normal or chi-square distribution, for many seeds; None with the statistic."""
    p_value: float
    """Two-sided, by permutation. 1 where all scores are equal."""
    smallest: float
    """The smallest p-value that these scores can give: above .05, no result could be called significant.

    Of random permutations it is that of the largest statistic found.
    """
    permutations: int
    exact: bool
    """Whether all permutations were tried, or random ones."""


def compare_arms(
    left: ArrayLike,
    right: ArrayLike,
    arm: ArrayLike,
    generator: np.random.Generator,
    *,
    seeds: ArrayLike | None = None,
    paired: bool = False,
    strata: ArrayLike | None = None,
    kind: ScoreKind = "wilcoxon",
) -> IntervalTest:
    """Test that the arms [unit] emerge alike.

    Args:
        left: [unit] open left ends.
        right: [unit] closed right ends; inf where censored.
        arm: [unit] labels of at least two arms.
        generator: draws permutations where there are more than `EXACT`.
        seeds: [unit] labels; units of one arm with the same label are rows of one run. None: each unit is a run.
        paired: arms share their seeds; only runs of one seed are exchanged (for two arms: the sign of the difference of
            the pair's scores is flipped). Scores come from all seeds together.
        strata: [unit] labels; runs are exchanged within a stratum alone, and scores come from each stratum by itself.
        kind: of scores; see `ScoreKind`.

    Raises:
        ValueError: if there is one arm, a pair lacks an arm, a run lies in two strata, or both designs are asked for.

    """
    left, right = check_intervals(left, right)
    labels, arms, numbers, blocks = _design(len(left), arm, seeds, strata, paired)
    score = np.zeros(len(left))
    for block in [np.full(len(left), True)] if strata is None else [blocks == b for b in np.unique(blocks)]:
        score[block] = score_units(left[block], right[block], kind)
    runs, first, run = np.unique(numbers, return_index=True, return_inverse=True)
    total = np.bincount(run, weights=score, minlength=len(runs)).astype(np.float64)
    return _permute(total, arms[first], blocks[first], labels, generator, kind)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several comparisons, each adjusted so that any error among them keeps its level (Holm 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"p_values are {p_values}; allowed are numbers from 0 to 1")
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted.tolist()


def _design(
    units: int, arm: ArrayLike, seeds: ArrayLike | None, strata: ArrayLike | None, paired: bool
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Labels of arms; then the number of each unit's arm, run and block, all [unit]."""
    columns: dict[str, NDArray[np.int64]] = {}
    names: list[str] = []
    for name, given in (("arm", arm), ("seeds", seeds), ("strata", strata)):
        label = np.arange(units) if name == "seeds" and given is None else np.asarray(0 if given is None else given)
        label = np.broadcast_to(label, (units,)) if label.ndim == 0 else label
        if label.shape != (units,):
            raise ValueError(f"{name} has shape {label.shape}; it needs one label for each of the {units} units")
        values, columns[name] = np.unique(label, return_inverse=True)
        names = [str(value) for value in values] if name == "arm" else names
    if len(names) < 2:
        raise ValueError(f"arm has the label {names[0]!r} alone; allowed are two arms or more")
    if paired and (strata is not None or seeds is None):
        raise ValueError("paired is True with strata or without seeds; a pair is a seed that every arm has")
    block = columns["seeds"] if paired else columns["strata"]
    _, run = np.unique(np.stack([columns["arm"], columns["seeds"]]), axis=1, return_inverse=True)
    run = run.reshape(-1)
    if paired:
        have = np.zeros((block.max() + 1, len(names)), dtype=np.bool_)
        have[block, columns["arm"]] = True
        if not have.all():
            seed = np.unique(np.asarray(seeds))[int((~have).any(axis=1).argmax())]
            raise ValueError(f"seed {seed} is not in every arm; paired allows those that are, so leave out the others")
    if any(len(np.unique(block[run == r])) > 1 for r in range(run.max() + 1)):
        raise ValueError("strata divide the units of one run; allowed is one stratum for each run")
    return names, columns["arm"], run, block


def _permute(
    score: Floats,
    arm: NDArray[np.int64],
    block: NDArray[np.int64],
    labels: list[str],
    generator: np.random.Generator,
    kind: ScoreKind,
) -> IntervalTest:
    """The test from the score, arm and block of each run, all [run]."""
    arms = len(labels)
    excess, variance = np.zeros(arms), np.zeros((arms, arms))
    members: list[tuple[Floats, NDArray[np.int64]]] = []
    for number in np.unique(block):
        inside = block == number
        counts = np.bincount(arm[inside], minlength=arms)
        centred = score[inside] - score[inside].mean()
        excess += np.bincount(arm[inside], weights=centred, minlength=arms)
        if inside.sum() > 1:  # covariance of sums over a random division, as of the hypergeometric distribution
            shares = counts / counts.sum()
            variance += centred @ centred / (counts.sum() - 1) * (np.diag(counts) - np.outer(counts, shares))
        members.append((centred, arm[inside]))
    known = float(variance.trace()) > 1e-16 * len(score) * max(float(np.abs(score).max()), 1.0) ** 2
    form = np.linalg.pinv(variance, hermitian=True) if known else np.zeros_like(variance)
    statistic = float(excess @ form @ excess)
    possible = prod(_count_divisions(own, arms) for _, own in members)
    exact = possible <= EXACT
    if exact:
        sums = reduce(_add_all, (_enumerate(centred, own, arms) for centred, own in members))
    else:
        sums = sum((_draw(centred, own, arms, generator) for centred, own in members), np.zeros((DRAWS, arms)))
    found = np.einsum("pa,ab,pb->p", sums, form, sums)
    alike = _TIE * float(found.max())
    reached = int((found >= statistic - alike).sum())
    largest = int((found >= max(float(found.max()), statistic) - alike).sum())
    return IntervalTest(
        kind=kind,
        arms=tuple(labels),
        seeds=tuple(np.bincount(arm, minlength=arms).tolist()),
        excess=tuple(excess.tolist()),
        z=float(excess[0]) / sqrt(variance[0, 0]) if known and arms == 2 else None,
        statistic=statistic if known else None,
        p_approximate=float(stats.chi2.sf(statistic, arms - 1)) if known else None,
        p_value=reached / possible if exact else (reached + 1) / (DRAWS + 1),
        smallest=largest / possible if exact else (largest + 1) / (DRAWS + 1),
        permutations=possible if exact else DRAWS,
        exact=exact,
    )


def _count_divisions(arm: NDArray[np.int64], arms: int) -> int:
    """In how many ways the runs of a block [run] can be divided among the arms, as many to each as there are."""
    left, ways = len(arm), 1
    for count in np.bincount(arm, minlength=arms).tolist():
        ways *= comb(left, count)
        left -= count
    return ways


def _enumerate(score: Floats, arm: NDArray[np.int64], arms: int) -> Floats:
    """[division, arm] sums of scores [run] for every division of a block; one run after the other is given an arm."""
    sums, places = np.zeros((1, arms)), np.bincount(arm, minlength=arms)[None]
    one = np.eye(arms, dtype=np.int64)
    for value in score:
        free = [places[:, a] > 0 for a in range(arms)]
        sums = np.concatenate([sums[free[a]] + value * one[a] for a in range(arms)])
        places = np.concatenate([places[free[a]] - one[a] for a in range(arms)])
    return sums


def _draw(score: Floats, arm: NDArray[np.int64], arms: int, generator: np.random.Generator) -> Floats:
    """[division, arm] sums of scores for `DRAWS` random divisions of a block."""
    shuffled = generator.permuted(np.tile(arm, (DRAWS, 1)), axis=1)
    return np.stack([(shuffled == a) @ score for a in range(arms)], axis=1)


def _add_all(one: Floats, other: Floats) -> Floats:
    """Every row of one with every row of the other."""
    return (one[:, None] + other[None]).reshape(-1, one.shape[1])
