"""Simulated races, to see what a race costs and how often it finds the best arm, beside the full grid of seeds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from saltus.measure.intervals import Floats
from saltus.measure.race import Calibration, Order, RaceRules, follow_race

Noise = Callable[[np.random.Generator, int, int], Floats]
"""[seed, arm] what is added to the log median steps of the arms; inf for a seed that never solves."""


@dataclass(frozen=True)
class Picks:
    """How good the picked arms were, over repeats."""

    regret: float
    """Mean of the picked arm's median step over the best one's, less 1."""
    best: float
    """Share of repeats that picked the best arm."""
    near: float
    """Share that picked an arm within 15% of the best."""
    cost: float
    """Mean steps of all seeds together, each until it solved or was stopped."""


@dataclass(frozen=True)
class RaceTrial:
    """A race beside the full grid on the same seeds."""

    race: Picks
    grid: Picks
    """Every arm with the same number of seeds, each until it solves or the budget ends; picks by mean log step."""
    dropped_best: float
    """Share of races in which the best arm was dropped."""
    known: float
    """Share of races that ended with the best known."""


def simulate_races(
    medians: ArrayLike,
    noise: Noise,
    rules: RaceRules,
    every: float,
    repeats: int,
    generator: np.random.Generator,
    grid_seeds: int = 24,
) -> RaceTrial:
    """Races between arms with these median steps [arm], evaluated every `every` steps."""
    medians = np.asarray(medians, dtype=np.float64)
    calibration = Calibration(rules, len(medians), generator)
    picked, costs, dropped, known = np.zeros((2, repeats), dtype=np.int64), np.zeros((2, repeats)), 0, 0
    best = int(medians.argmin())
    for repeat in range(repeats):
        most = max(rules.most_seeds, grid_seeds)
        steps = np.exp(np.log(medians) + noise(generator, most, len(medians)))
        found = np.ceil(steps / every) * every  # [seed, arm]
        found[found > rules.budget] = np.inf
        grid = np.minimum(found[:grid_seeds], rules.budget)
        picked[1, repeat], costs[1, repeat] = np.log(grid).mean(axis=0).argmin(), grid.sum()

        def find(order: Order, found: Floats = found) -> tuple[Floats, Floats]:
            return _show(found[: order.seeds, int(order.arm)], min(_round_up(order.until, every), rules.budget), every)

        history = follow_race([str(arm) for arm in range(len(medians))], calibration, find)
        picked[0, repeat] = int(history.leader or 0)  # the first of equal ones, as in the grid
        costs[0, repeat] = sum(_count_steps(found, order, every, rules.budget) for order in history.reached)
        dropped += str(best) in {drop.arm for drop in history.drops}
        known += history.ended == "the best is known"
    race, full = (_judge(medians, picked[i], costs[i]) for i in range(2))
    return RaceTrial(race, full, dropped / repeats, known / repeats)


def draw_log_normal(spread: float) -> Noise:
    """Normal noise of log steps with this standard deviation."""
    return lambda generator, seeds, arms: spread * generator.normal(size=(seeds, arms))


def _show(found: Floats, until: float, every: float) -> tuple[Floats, Floats]:
    """Intervals [seed] of seeds that were watched until a step, solved or not, on the grid."""
    solved = found <= until
    return np.where(solved, found - every, until), np.where(solved, found, np.inf)


def _count_steps(found: Floats, order: Order, every: float, budget: float) -> float:
    """Steps of the seeds of an order, each until it solved or the order ended."""
    until = min(_round_up(order.until, every), budget)
    return float(np.minimum(found[: order.seeds, int(order.arm)], until).sum())


def _round_up(step: float, every: float) -> float:
    return float(np.ceil(step / every) * every)


def _judge(medians: Floats, picked: "np.ndarray[tuple[int], np.dtype[np.int64]]", costs: Floats) -> Picks:
    regret = medians[picked] / medians.min() - 1.0
    return Picks(
        float(regret.mean()), float((regret == 0.0).mean()), float((regret <= 0.15).mean()), float(costs.mean())
    )
