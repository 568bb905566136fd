"""Arms side by side: when half of each had it, how many solve, by how much two of them differ, and what that may mean.

Effects with their intervals come first, p-values second, and those are adjusted for the number of pairs. Units of one
seed stay together throughout: rows of a run are never independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from saltus.curves import Emergence
from saltus.errors import SaltusError
from saltus.measure.bootstrap import DRAWS, bootstrap_seeds
from saltus.measure.contrasts import Contrast, contrast_arms, find_horizon
from saltus.measure.interval_tests import IntervalTest, adjust_holm, compare_arms
from saltus.measure.intervals import Estimate, Floats, bound_share, check_intervals
from saltus.shown import Shown


@dataclass(frozen=True)
class ArmOutcome:
    """One arm."""

    name: str
    seeds: int
    units: int
    """Of all seeds together."""
    emerged: int
    """Of the units."""
    median: Estimate
    """Step by which half of the units have emerged, Turnbull's; inf where half of them do not within the budget."""
    solved: Estimate
    """Share that has emerged by the horizon; where each seed has one unit the interval is Clopper and Pearson's."""


@dataclass(frozen=True)
class PairOutcome:
    """Two arms."""

    a: str
    b: str
    contrast: Contrast
    """B against A."""
    test: IntervalTest
    adjusted: float
    """The p-value, adjusted over all pairs (Holm)."""
    least: float
    """The least that it could have been with so many seeds, evaluations and pairs."""
    pairs: int
    """Over which it is adjusted."""

    @property
    def sentence(self) -> str:
        """What can be said of the two, in a sentence that names n."""
        seeds = f"{self.test.seeds[0]} against {self.test.seeds[1]} seeds"
        ratio = self.contrast.median_ratio
        if ratio.value is None or not np.isfinite(ratio.value) or ratio.value == 0.0:
            told = f"no ratio, as the median of {self.a} or {self.b} lies beyond the budget or at step 0"
        else:
            told = f"the median step of {self.b} is {ratio.value:.2f} times that of {self.a}"
        told += f" [{_say(ratio.lower)}, {_say(ratio.upper)}]"
        if self.least > 0.05:
            return (
                f"With {seeds} no difference could be shown at all ({told}); it takes more seeds, or evaluations that "
                "tell them apart"
            )
        shown = (
            "they differ" if self.adjusted <= 0.05 else "a difference is not shown, which does not mean there is none"
        )
        how = ("exact" if self.test.exact else "Monte Carlo") + (f", Holm over {self.pairs} pairs" * (self.pairs > 1))
        return f"With {seeds} {shown} (p = {self.adjusted:.3g}, {how}): {told}"


@dataclass(frozen=True)
class ArmComparison(Shown):
    """Some arms, and every pair of them."""

    arms: tuple[ArmOutcome, ...]
    pairs: tuple[PairOutcome, ...]
    horizon: float
    """The last step until which every unit of every arm was watched, or had emerged."""
    paired: bool
    unwatched: int
    """Units that take no part, since nothing is known of them; where seeds are paired, with their partners."""


def compare_emergences(
    arms: Mapping[str, Sequence[Emergence]],
    generator: np.random.Generator,
    *,
    paired: bool = False,
    level: float = 0.95,
    draws: int = DRAWS,
) -> ArmComparison:
    """Compare when units emerged in two or more arms.

    `paired` says that seeds of the same name are the same seed in all arms; `level` and `draws` are those of the
    intervals, see `measure.bootstrap`. Units that were not watched beyond step 0 take no part.

    Raises:
        SaltusError: if there are not two arms, one is empty, or a seed of a pair is in one arm alone.

    """
    if len(arms) < 2 or not all(arms.values()):
        told = ", ".join(f"{name} ({len(found)} units)" for name, found in arms.items()) or "no arm"
        raise SaltusError(f"a comparison needs two arms with at least one unit each; there are {told}")
    given, arms = arms, _leave_unwatched(arms, paired=paired)
    ends = {name: _list_ends(found) for name, found in arms.items()}
    seeds = {name: np.array([f"{e.key.group}\0{e.key.seed}" for e in found]) for name, found in arms.items()}
    if paired:
        seeds = {name: np.array([e.key.seed for e in found]) for name, found in arms.items()}
        for name, labels in seeds.items():
            if alone := sorted(set(labels) ^ set(next(iter(seeds.values())))):
                raise SaltusError(f"paired: the seed {alone[0]} is not in both of {next(iter(seeds))} and {name}")
    horizon = find_horizon(list(ends.values()))
    outcomes = tuple(_describe_arm(name, *ends[name], seeds[name], horizon, generator, level, draws) for name in arms)
    tests = {
        (a, b): compare_arms(
            np.concatenate([ends[a][0], ends[b][0]]),
            np.concatenate([ends[a][1], ends[b][1]]),
            np.repeat([0, 1], [len(ends[a][0]), len(ends[b][0])]),
            generator,
            seeds=np.concatenate([seeds[a], seeds[b]]),
            paired=paired,
        )
        for a, b in combinations(arms, 2)
    }
    adjusted = adjust_holm([test.p_value for test in tests.values()])
    least = adjust_holm([test.smallest for test in tests.values()])
    pairs = tuple(
        PairOutcome(
            a,
            b,
            contrast_arms(
                ends[a],
                ends[b],
                generator,
                horizon=horizon,
                seeds=(seeds[a], seeds[b]),
                paired=paired,
                level=level,
                draws=draws,
            ),
            test,
            p_value,
            smallest,
            len(tests),
        )
        for ((a, b), test), p_value, smallest in zip(tests.items(), adjusted, least, strict=True)
    )
    unwatched = sum(map(len, given.values())) - sum(map(len, arms.values()))
    return ArmComparison(outcomes, pairs, horizon, paired, unwatched)


def _leave_unwatched(arms: Mapping[str, Sequence[Emergence]], *, paired: bool) -> dict[str, list[Emergence]]:
    """The arms without units of which nothing is known.

    Raises:
        SaltusError: if nothing is left of an arm.

    """
    gone = {e.key.seed for found in arms.values() for e in found if e.unwatched} if paired else set[str]()
    left = {name: [e for e in found if not e.unwatched and e.key.seed not in gone] for name, found in arms.items()}
    if empty := [name for name, found in left.items() if not found]:
        raise SaltusError(
            f"a comparison needs units that were watched for long enough to confirm an emergence, and {empty[0]} has "
            "none; train longer, or give a smaller hold"
        )
    return left


def _list_ends(found: Sequence[Emergence]) -> tuple[Floats, Floats]:
    left = [float(emergence.after) for emergence in found]
    right = [np.inf if emergence.by is None else float(emergence.by) for emergence in found]
    return check_intervals(left, right)


def _describe_arm(
    name: str,
    left: Floats,
    right: Floats,
    seeds: np.ndarray[tuple[int], np.dtype[np.str_]],
    horizon: float,
    generator: np.random.Generator,
    level: float,
    draws: int,
) -> ArmOutcome:
    boot = bootstrap_seeds(left, right, generator, seeds, draws)
    known = (right <= horizon) | (left >= horizon)
    single = len(seeds) == boot.seeds and bool(known.all())
    return ArmOutcome(
        name=name,
        seeds=boot.seeds,
        units=len(left),
        emerged=int(np.isfinite(right).sum()),
        median=boot.quantile(0.5, level),
        solved=bound_share(int((right <= horizon).sum()), boot.seeds, level)
        if single
        else boot.solved_by(horizon, level),
    )


def _say(ratio: float) -> str:
    return "no limit" if np.isinf(ratio) else f"{ratio:.2f}"
