"""A race over arms: which of them are shown to be slower, what the others train next, whether the best is known.

After every round each arm that is left has the same number of seeds. Their outcomes (log steps until solved, cut at
twice the best arm's median) are averaged; an arm whose mean exceeds the leader's by more than a limit is dropped. The
limits come from simulated races in which one arm is better than all others by exactly the margin (the indifference zone
of ranking and selection: Bechhofer 1954; Paulson 1964): in at most a share `error` of them, over all looks together, is
the best arm dropped. A rival that is closer than the margin may win more often; it costs less than the margin.

Everything here is a pure function of what was trained, so that a race can be resumed at any point, and replayed on
seeds that were all trained anyway.
Intervals (left, right] [seed]; see `measure.intervals` for the ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from saltus.measure.intervals import Floats, check_intervals
from saltus.measure.likelihood import build_likelihood, find_start

RaceBy = Literal["median step", "solve share"]

_ENOUGH = 0.75
"""Arms are compared if all seeds were watched for this share of twice the best arm's median: it moves a little."""

_MANY = 40


@dataclass(frozen=True)
class RaceRules:
    """How a race is run."""

    budget: float
    """Most steps of any seed."""
    first_budget: float
    """Steps of the first round, doubled until half of the seeds of some arm have solved."""
    by: RaceBy = "median step"
    margin: float = 1.3
    """What matters: a ratio of median steps above 1, or a difference of solve shares between 0 and 1."""
    error: float = 0.05
    """Probability that the best arm is dropped, over all looks, if it is better than the others by the margin."""
    first_seeds: int = 3
    most_seeds: int = 32
    """Seeds of an arm in the first and in the last round; by 1.5 times more in each."""

    def __post_init__(self) -> None:
        if not 0.0 < self.first_budget <= self.budget < np.inf:
            raise ValueError(
                f"budget is {self.budget} and first_budget {self.first_budget}; allowed is 0 < first <= budget"
            )
        if not (1.0 < self.margin < np.inf if self.by == "median step" else 0.0 < self.margin < 1.0):
            raise ValueError(f"margin is {self.margin}; allowed is a ratio above 1, or a difference of shares below 1")
        if not 0.0 < self.error < 1.0:
            raise ValueError(f"error is {self.error}; allowed is a number between 0 and 1")
        if not 2 <= self.first_seeds <= self.most_seeds:
            raise ValueError(f"first_seeds is {self.first_seeds}; allowed is from 2 to most_seeds, {self.most_seeds}")

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds of each arm at each look, increasing."""
        seeds = [self.first_seeds]
        while seeds[-1] < self.most_seeds:
            seeds.append(min(ceil(1.5 * seeds[-1]), self.most_seeds))
        return tuple(seeds)


@dataclass(frozen=True)
class Arm:
    """What an arm that is still in the race has trained."""

    name: str
    left: Floats
    """[seed]; for an unsolved seed the step until which it was watched."""
    right: Floats
    """[seed]; inf for a seed that has not solved."""


@dataclass(frozen=True)
class Order:
    """What an arm trains next: this many seeds in all, each until this step, unless it solves before."""

    arm: str
    seeds: int
    until: float


@dataclass(frozen=True)
class Drop:
    """An arm shown to be worse."""

    arm: str
    leader: str
    seeds: int
    excess: float
    """Mean outcome less the leader's: natural log steps, or share unsolved."""
    limit: float


Ending = Literal["the best is known", "the seeds are spent"]


@dataclass(frozen=True)
class Decision:
    """What follows from a round."""

    leader: str | None
    """The best arm so far; None while no seed has solved."""
    drops: tuple[Drop, ...]
    orders: tuple[Order, ...]
    """Empty where the race is over."""
    ended: Ending | None
    means: tuple[float, ...] = ()
    """[arm] mean outcomes, the smaller the better: natural log steps, or shares unsolved; empty if not compared."""


@dataclass(frozen=True)
class Round:
    """Arms that were trained alike, and what was decided on them."""

    orders: tuple[Order, ...]
    """[arm] how far each had been trained, in the order of the arms."""
    means: tuple[float, ...]
    """[arm] as in `Decision`; empty where the arms were only found to need more steps."""
    leader: str | None
    drops: tuple[Drop, ...]


@dataclass(frozen=True)
class History:
    """A race as far as it has come."""

    rounds: tuple[Round, ...]
    waiting: tuple[Order, ...]
    """What has to be trained before the next round; empty where the race is over."""
    ended: Ending | None
    reached: tuple[Order, ...]
    """[arm] how far each arm has been trained, dropped or not; none that has not been begun."""

    @property
    def leader(self) -> str | None:
        """The best arm so far."""
        return self.rounds[-1].leader if self.rounds else None

    @property
    def drops(self) -> tuple[Drop, ...]:
        """All arms that were dropped, in their order."""
        return tuple(drop for each in self.rounds for drop in each.drops)


def follow_race(
    names: Sequence[str], calibration: "Calibration", find: Callable[[Order], tuple[Floats, Floats] | None]
) -> History:
    """Follow a race through everything that has been trained.

    `find` gives the intervals [seed] of an order, as they were when it had been carried out and nothing more; None if
    it has not been. An arm's orders only ever grow, in seeds and in steps.

    Raises:
        ValueError: if a seed that has not solved was watched for fewer steps than its order says.

    """
    reached: dict[str, Order] = {}
    arms = {name: Arm(name, np.zeros(0), np.zeros(0)) for name in names}
    rounds: list[Round] = []
    while True:
        decision = decide(list(arms.values()), calibration)
        if reached:
            trained = tuple(reached[name] for name in arms)
            rounds.append(Round(trained, decision.means, decision.leader, decision.drops))
        arms = {name: arm for name, arm in arms.items() if name not in {drop.arm for drop in decision.drops}}
        if decision.ended:
            return History(tuple(rounds), (), decision.ended, tuple(reached.values()))
        orders = [_join(order, reached.get(order.arm)) for order in decision.orders]
        if all(reached.get(order.arm) == order for order in orders):
            raise ValueError(f"find gave seeds of fewer steps than the orders that it was given, {orders}")
        found = {order.arm: find(order) for order in orders}
        waiting = tuple(order for order in orders if found[order.arm] is None)
        reached |= {order.arm: order for order in orders if order not in waiting}
        if waiting:
            return History(tuple(rounds), waiting, None, tuple(reached.values()))
        arms = {name: Arm(name, *ends) for name, ends in found.items() if ends is not None}


def _join(order: Order, before: Order | None) -> Order:
    """What was asked before, and now too."""
    return order if before is None else Order(order.arm, max(order.seeds, before.seeds), max(order.until, before.until))


class Calibration:
    """Simulated races between equally many arms, from which the limits of each look are found.

    In them log steps are normal around the arms' medians, or seeds solve with the arms' probabilities; the first arm is
    the best by the margin. The same noise serves all spreads, so that the same estimate always gives the same limits.
    """

    def __init__(self, rules: RaceRules, arms: int, generator: np.random.Generator, draws: int = 10_000):
        if arms < 2:
            raise ValueError(f"arms is {arms}; allowed are two or more")
        self.rules = rules
        self._noise = generator.normal(size=(draws, rules.looks[-1], arms)).astype(np.float32)
        self._middles = [np.median(self._noise[:, :seeds], axis=1) for seeds in rules.looks]  # each [draw, arm]
        self._squares = np.cumsum(generator.normal(size=(draws, _MANY)) ** 2, axis=1)
        self._limits: dict[tuple[int, int, int], float] = {}

    def limit_steps(self, look: int, spread: float, degrees: int) -> float:
        """The excess over the leader, in mean log steps, beyond which an arm is dropped at a look, numbered from 0.

        `spread` is the standard deviation of log steps within an arm, rounded to a twentieth of itself; how far it may
        be from the truth is drawn from chi-square with its `degrees` of freedom, of which 40 count as many.
        """
        key = look, round(20.0 * log(spread)), min(degrees, _MANY)
        if key not in self._limits:
            scale = np.exp(key[1] / 20.0) * np.sqrt(key[2] / self._squares[:, key[2] - 1])
            scale = scale.astype(np.float32)[:, None]
            shift = np.full(self._noise.shape[2], log(self.rules.margin), dtype=np.float32)
            shift[0] = 0.0
            medians = [scale * middle + shift for middle in self._middles[: look + 1]]
            seen = self._noise[:, : self.rules.looks[look]]
            self._limits[key] = self._find_limit(look, scale[:, None] * seen + shift, medians)
        return self._limits[key]

    def limit_shares(self, look: int, failing: float) -> float:
        """The same in shares unsolved, where the best arm fails to solve with the probability `failing`."""
        key = look, round(40.0 * failing), 0
        if key not in self._limits:
            chances = np.full(self._noise.shape[2], key[1] / 40.0 + self.rules.margin)
            chances[0] = key[1] / 40.0
            seen = self._noise[:, : self.rules.looks[look]]
            self._limits[key] = self._find_limit(look, (ndtr(seen) < chances).astype(np.float32))
        return self._limits[key]

    def _find_limit(
        self, look: int, outcomes: NDArray[np.float32], medians: Sequence[NDArray[np.float32]] = ()
    ) -> float:
        """From outcomes [draw, seed, arm], cut at twice the best median [look][draw, arm] where there are any.

        Each look until this one drops the best arm in its part of the error.
        """
        looks = len(self.rules.looks)
        left = np.ones((len(outcomes), outcomes.shape[2]), dtype=np.bool_)
        limit = 0.0
        for number, seeds in enumerate(self.rules.looks[: look + 1]):
            part = 2.0 * (looks - number) / (looks * (looks + 1))
            spend = int(len(outcomes) * self.rules.error * part)
            seen = outcomes[:, :seeds]
            if medians:
                best = np.where(left, medians[number], np.inf).min(axis=1)
                seen = np.minimum(seen, (best + log(2.0)).astype(np.float32)[:, None, None])
            means = np.where(left, seen.mean(axis=1), np.inf)
            excess = np.where(left, means - means.min(axis=1, keepdims=True), -1.0)
            limit = max(float(np.partition(excess[:, 0], -spend - 1)[-spend - 1]), 0.0)
            left &= excess <= limit
        return limit


def decide(arms: Sequence[Arm], calibration: Calibration) -> Decision:
    """What follows from the seeds of the arms that are still in the race.

    Orders bring every arm to the same number of seeds, all watched as long as the comparison needs; only when that is
    done are arms compared. The same arms always give the same decision.
    """
    rules = calibration.rules
    if len({arm.name for arm in arms}) < len(arms) or not arms:
        raise ValueError(f"arms are {[arm.name for arm in arms]}; allowed is at least one, each with a name of its own")
    checked = [check_intervals(arm.left, arm.right, arm.name) if len(arm.left) else None for arm in arms]
    have = [0 if ends is None else len(ends[0]) for ends in checked]
    if max(have) > rules.looks[-1]:
        raise ValueError(f"an arm has {max(have)} seeds; allowed are up to {rules.looks[-1]}")
    look = next(number for number, seeds in enumerate(rules.looks) if seeds >= max(have))
    trained = [ends for ends in checked if ends is not None]
    level = _find_level(trained, rules, min(have) < rules.looks[look])
    if min(have) < rules.looks[look] or _find_reached(trained) < level:
        return Decision(None, (), tuple(Order(arm.name, rules.looks[look], level) for arm in arms), None)
    return _compare([arm.name for arm in arms], trained, look, level, calibration)


def _find_level(trained: Sequence[tuple[Floats, Floats]], rules: RaceRules, missing: bool) -> float:
    """The step until which seeds have to be watched before arms can be compared, as far as is known now."""
    if rules.by == "solve share":
        return rules.budget
    if not trained:
        return rules.first_budget
    reached = _find_reached(trained)
    if (wanted := find_cut(trained, rules.budget)) is not None:
        return min(reached, wanted) if reached >= _ENOUGH * wanted else wanted
    known = min(max(reached, rules.first_budget), rules.budget)
    return known if missing else min(2.0 * known, rules.budget)


def find_cut(trained: Sequence[tuple[Floats, Floats]], budget: float) -> float | None:
    """Where outcomes are cut: at twice the best arm's median step, in steps; None where no arm has a median.

    At step 1 at the earliest, as what is there at step 0 has no log step; at the budget at the latest.
    """
    median = min(float(np.median((np.maximum(left, 0.0) + right) / 2.0)) for left, right in trained)
    return min(max(2.0 * median, 1.0), budget) if np.isfinite(median) else None


def _find_reached(trained: Sequence[tuple[Floats, Floats]]) -> float:
    """The step until which every unsolved seed was watched; inf where all have solved."""
    return min(float(left[np.isinf(right)].min(initial=np.inf)) for left, right in trained)


def _compare(
    names: Sequence[str], trained: Sequence[tuple[Floats, Floats]], look: int, level: float, calibration: Calibration
) -> Decision:
    rules = calibration.rules
    outcomes = np.array([measure_outcomes(left, right, level, rules.by) for left, right in trained])  # [arm, seed]
    means = outcomes.mean(axis=1)
    best = int(means.argmin())
    seeds = outcomes.shape[1]
    if rules.by == "solve share":
        limit = calibration.limit_shares(look, float(outcomes[best].sum() + 1.0) / (seeds + 2.0))
    else:
        spread = _estimate_spread(trained, level)
        limit = np.inf if spread is None else calibration.limit_steps(look, *spread)
    worse = [i for i in range(len(names)) if i != best and means[i] - means[best] > limit]
    drops = [Drop(names[i], names[best], seeds, float(means[i] - means[best]), limit) for i in worse]
    left = [name for i, name in enumerate(names) if i not in worse]
    ended: Ending | None = None
    if len(left) == 1:
        ended = "the best is known"
    elif look + 1 == len(rules.looks):
        ended = "the seeds are spent"
    orders = () if ended else tuple(Order(name, rules.looks[look + 1], level) for name in left)
    solved = any((right <= level).any() for _, right in trained)
    return Decision(names[best] if solved else None, tuple(drops), orders, ended, tuple(means.tolist()))


def measure_outcomes(left: Floats, right: Floats, level: float, by: RaceBy) -> Floats:
    """[seed] the smaller, the better: log of the middle of the interval, cut at the level, or 1 for unsolved by it."""
    solved = right <= level
    if by == "solve share":
        return np.where(solved, 0.0, 1.0)
    middle = (np.maximum(left, 0.0) + np.where(solved, right, level)) / 2.0
    return np.where(solved, np.log(np.maximum(middle, 0.5)), np.log(level))


def _estimate_spread(trained: Sequence[tuple[Floats, Floats]], level: float) -> tuple[float, int] | None:
    """Standard deviation of log steps within arms and its degrees of freedom; None where it cannot be told.

    Where the seeds of each arm fit into one step, 0 would be the likeliest: then it is the most that steps within these
    intervals can have, half of the widest (Popoviciu's bound).
    """
    cut: list[tuple[Floats, Floats]] = []
    for left, right in trained:
        later = right > 0.0  # who was there at step 0 has no log step
        ends = np.minimum(left[later], level), np.where(right > level, np.inf, right)[later]
        if np.isfinite(ends[1]).any():
            cut.append(ends)
    if not cut:
        return None
    together = all(left.max() <= right.min() for left, right in cut)
    left, right = (np.concatenate(ends) for ends in zip(*cut, strict=True))
    arm = np.repeat(np.arange(len(cut)), [len(ends[0]) for ends in cut])
    if together:
        widest = float(np.log(right / np.maximum(left, 0.5)).max()) / 2.0
        degrees = len(arm) - len(cut)
        return (widest, degrees) if degrees and 0.0 < widest < np.inf else None
    likelihood = build_likelihood("log-normal", left, right, np.eye(len(cut))[arm])
    theta, _ = likelihood.maximise(find_start(likelihood))
    degrees = len(arm) - len(cut)
    return float(np.sqrt(len(arm) / degrees) / theta[-1]), degrees
