"""Simulated races, to see what a race costs and how often it finds the best arm, beside the full grid of seeds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from saltus.measure.intervals import Floats
from saltus.measure.race import Arm, Calibration, RaceRules, decide

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
        watched = np.zeros_like(found)
        left = list(range(len(medians)))
        while True:
            decision = decide([_show(watched[:, arm], found[:, arm], every, str(arm)) for arm in left], calibration)
            gone = {int(drop.arm) for drop in decision.drops}
            dropped += best in gone
            left = [arm for arm in left if arm not in gone]
            if decision.ended is not None:
                break
            for order in decision.orders:
                until = min(np.ceil(order.until / every) * every, rules.budget)
                column = watched[: order.seeds, int(order.arm)]
                np.maximum(column, np.minimum(found[: order.seeds, int(order.arm)], until), out=column)
        assert decision.leader is not None
        picked[0, repeat], costs[0, repeat] = int(decision.leader), watched.sum()
        known += decision.ended == "the best is known"
    race, full = (_judge(medians, picked[i], costs[i]) for i in range(2))
    return RaceTrial(race, full, dropped / repeats, known / repeats)


def draw_log_normal(spread: float) -> Noise:
    """Normal noise of log steps with this standard deviation."""
    return lambda generator, seeds, arms: spread * generator.normal(size=(seeds, arms))


def _show(watched: Floats, found: Floats, every: float, name: str) -> Arm:
    """What an arm has to show: seeds that were begun, solved or not, on the grid."""
    begun = watched > 0.0
    solved = found[begun] <= watched[begun]
    return Arm(
        name,
        np.where(solved, found[begun] - every, watched[begun]),
        np.where(solved, found[begun], np.inf),
    )


def _judge(medians: Floats, picked: "np.ndarray[tuple[int], np.dtype[np.int64]]", costs: Floats) -> Picks:
    regret = medians[picked] / medians.min() - 1.0
    return Picks(
        float(regret.mean()), float((regret == 0.0).mean()), float((regret <= 0.15).mean()), float(costs.mean())
    )
