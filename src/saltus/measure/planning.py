"""How many seeds and how long a budget a study needs, by simulation from what a pilot or a guess says.

Each question has a probability of success, which more seeds mostly raise; the plan is the cheapest number of seeds and
budget (in seed-steps) with which it reaches the wanted one. Where an interval is asked for, one seed more can lower it
again, as exact intervals grow narrower in jumps: the curve of the plan shows that. Success is judged by the very test
or interval that the study will use, at its own number of seeds, on its own grid of evaluations. What is believed enters
as draws: a pilot of three seeds leaves the truth open, and the success is an average over what it may be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import ceil, comb

import numpy as np
from scipy import stats

from saltus.measure.interval_tests import EXACT
from saltus.measure.intervals import Floats
from saltus.measure.outlook import LONGEST, Outlook, watch

MOST = 512
"""Seeds, in each arm, beyond which no plan is looked for."""

_FARTHEST = 1e6
"""The largest factor between two steps that is asked for."""

_SHORTEST = 1e-9
"""Steps between evaluations; a budget has no more of them than can be counted."""

_SOLVED = (0.5, 0.75, 0.9, 0.975)
"""Budgets that are tried: so many of the seeds that ever solve do so within them."""

_CURVE = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, MOST)

_PERMUTATIONS = 1_999


@dataclass(frozen=True)
class PlanRow:
    """What one design achieves."""

    seeds: int
    """In each arm."""
    budget: float
    """In steps."""
    every: float
    """Steps between evaluations; 0 is watching at all times."""
    success: float
    """Probability, over what is believed and over seeds."""
    success_if_known: float
    """Probability if the middle of what is believed were the truth."""


@dataclass(frozen=True)
class Plan:
    """The answer, and what it was chosen from."""

    target: float
    """Wanted probability of success."""
    arms: int
    answer: PlanRow | None
    """The cheapest design that reaches the target; None if none does with at most `MOST` seeds."""
    curve: tuple[PlanRow, ...]
    """Success against seeds, at the budget of the answer, or else at the longest."""
    budgets: tuple[PlanRow, ...]
    """For each budget the fewest seeds that reach the target; budgets with which none does are left out."""
    grids: tuple[PlanRow, ...]
    """The answer on coarser and finer grids, down to watching at all times; empty without an answer."""
    pilot: PlanRow | None
    """The answer's budget with as many seeds as the pilot had; None for a guess."""


Success = Callable[[Outlook, int, float, float], float]
"""Probability of success from what is believed, seeds of each arm, budget and steps between evaluations."""


def check_question(
    *,
    ratio: float | None = None,
    factor: float | None = None,
    every: float | None = None,
    budgets: Sequence[float] = (),
    **probabilities: float,
) -> None:
    """Raise a ValueError if it cannot be planned for, whatever is believed."""
    if ratio is not None and (not 1.0 / _FARTHEST <= ratio <= _FARTHEST or ratio == 1.0):
        raise ValueError(
            f"ratio is {ratio}; allowed is a number from {1.0 / _FARTHEST:g} to {_FARTHEST:g} other than 1"
        )
    if factor is not None and not 1.0 < factor <= _FARTHEST:
        raise ValueError(f"factor is {factor}; allowed is a number above 1 and up to {_FARTHEST:g}")
    if every is not None and not (every == 0.0 or _SHORTEST <= every <= LONGEST):
        raise ValueError(
            f"every is {every}; allowed are {_SHORTEST:g} to {LONGEST:g} steps, and 0 for watching at all times"
        )
    if any(not 0.0 < budget <= LONGEST for budget in budgets):
        raise ValueError(f"budgets are {list(budgets)}; allowed are numbers of steps above 0 and up to {LONGEST:g}")
    for name, value in probabilities.items():
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} is {value}; allowed is a number between 0 and 1")


def plan_comparison(
    outlook: Outlook,
    ratio: float,
    every: float,
    generator: np.random.Generator,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    budgets: Sequence[float] = (),
    studies: int = 400,
) -> Plan:
    """Tell apart two arms whose median steps have the ratio `ratio`, by the Wilcoxon permutation test at `alpha`.

    It is `measure.interval_tests.compare_arms`, for unpaired arms that share the grid and the budget, and counts as a
    success only where the right arm is found to be the sooner one. A budget that is not given is looked for.
    """
    check_question(ratio=ratio, every=every, budgets=budgets, power=power, alpha=alpha)
    ratio = max(ratio, 1.0 / ratio)
    state = int(generator.integers(2**62))

    def succeed(believed: Outlook, seeds: int, budget: float, every: float) -> float:
        own = np.random.default_rng(state)  # the same studies for every design, so that success grows with seeds
        steps = [believed.simulate(studies, seeds, own, factor) for factor in (1.0, ratio)]
        found = watch(np.concatenate(steps, axis=1), every, budget)
        p_values, sooner = judge_many(found, own)
        return float(((p_values <= alpha + 1e-9) & (sooner > 0.0)).mean())

    choices = _choose_budgets(outlook, every, budgets, ratio)
    return _plan(outlook, succeed, power, 2, choices, every)


def plan_median(
    outlook: Outlook,
    factor: float,
    every: float,
    generator: np.random.Generator,
    *,
    certainty: float = 0.8,
    level: float = 0.95,
    budgets: Sequence[float] = (),
    studies: int = 400,
) -> Plan:
    """Place the median step within a factor: the ends of its interval are at most `factor` squared apart.

    The interval is that between two order statistics, which `measure.bootstrap` gives where grid and budget are shared.
    """
    check_question(factor=factor, every=every, budgets=budgets, certainty=certainty, level=level)
    state = int(generator.integers(2**62))

    def succeed(believed: Outlook, seeds: int, budget: float, every: float) -> float:
        out = int(stats.binom.ppf((1.0 - level) / 2, seeds, 0.5))
        if not out:
            return 0.0
        steps = believed.simulate(studies, seeds, np.random.default_rng(state))
        found = np.sort(watch(steps, every, budget), axis=1)[:, [out - 1, seeds - out]]
        low, high = found.T
        solved = np.isfinite(high)
        if every:
            low, high = (low - 1.0) * every, np.minimum(high * every, budget)
        return float((solved & (high <= factor**2 * low)).mean())

    return _plan(outlook, succeed, certainty, 1, _choose_budgets(outlook, every, budgets), every, grows=False)


def plan_share(
    outlook: Outlook,
    width: float,
    every: float,
    *,
    certainty: float = 0.8,
    level: float = 0.95,
    budgets: Sequence[float] = (),
) -> Plan:
    """Bound the share of seeds that solve within the budget by an interval at most `width` wide (Clopper, Pearson)."""
    check_question(every=every, budgets=budgets, certainty=certainty, level=level, width=width)

    def succeed(believed: Outlook, seeds: int, budget: float, every: float) -> float:
        wide = np.flatnonzero(_measure_widths(seeds, level) > width + 1e-12)  # around half of the seeds
        if not len(wide):
            return 1.0
        solved = stats.binom(seeds, believed.solve_by(budget))
        return float((solved.cdf(wide[0] - 1) + solved.sf(wide[-1])).mean())

    return _plan(outlook, succeed, certainty, 1, _choose_budgets(outlook, every, budgets), every, grows=False)


def plan_sighting(outlook: Outlook, every: float, *, certainty: float = 0.95, budgets: Sequence[float] = ()) -> Plan:
    """See the capability at least once within the budget."""
    check_question(every=every, budgets=budgets, certainty=certainty)

    def succeed(believed: Outlook, seeds: int, budget: float, every: float) -> float:
        return float((1.0 - (1.0 - believed.solve_by(budget)) ** seeds).mean())

    return _plan(outlook, succeed, certainty, 1, _choose_budgets(outlook, every, budgets), every)


def judge_many(found: Floats, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Two-sided Wilcoxon permutation p-values [study], and how much sooner the first arm is, in mean score.

    `found` [study, run] are numbers of evaluations, inf for never; the first half of the runs is the first arm. All
    permutations are tried where there are few, as in `compare_arms`; else the same random ones for all studies.
    """
    runs = found.shape[1]
    seeds = runs // 2
    score = 1.0 + 1.0 / runs - 2.0 * stats.rankdata(found, axis=1) / runs
    excess = score[:, :seeds].sum(axis=1)
    exact = comb(runs, seeds) <= EXACT
    chosen = _list_divisions(seeds) if exact else _draw_divisions(seeds, generator)
    reached = np.abs(score @ chosen.T) >= np.abs(excess)[:, None] - 1e-9
    counts = reached.sum(axis=1)
    return (counts / len(chosen) if exact else (counts + 1) / (len(chosen) + 1)), excess / seeds


@cache
def _list_divisions(seeds: int) -> Floats:
    """[division, run] 1 where a run is in the first arm."""
    chosen = np.array(list(combinations(range(2 * seeds), seeds)))
    table = np.zeros((len(chosen), 2 * seeds))
    np.put_along_axis(table, chosen, 1.0, axis=1)
    return table


def _draw_divisions(seeds: int, generator: np.random.Generator) -> Floats:
    arm = np.repeat([1.0, 0.0], seeds)
    return generator.permuted(np.tile(arm, (_PERMUTATIONS, 1)), axis=1)


@cache
def _measure_widths(seeds: int, level: float) -> Floats:
    """[count] widths of Clopper and Pearson's intervals."""
    counts, tail = np.arange(seeds + 1), (1.0 - level) / 2
    lower = np.append(0.0, stats.beta.ppf(tail, counts[1:], seeds - counts[1:] + 1))
    upper = np.append(stats.beta.isf(tail, counts[:-1] + 1, seeds - counts[:-1]), 1.0)
    return upper - lower


def _plan(
    outlook: Outlook,
    succeed: Success,
    target: float,
    arms: int,
    budgets: Sequence[float],
    every: float,
    *,
    grows: bool = True,
) -> Plan:
    known = outlook.estimate

    def try_design(seeds: int, budget: float, every: float) -> PlanRow:
        return PlanRow(
            seeds, budget, every, succeed(outlook, seeds, budget, every), succeed(known, seeds, budget, every)
        )

    def find(budget: float) -> int | None:
        return _find_fewest(lambda seeds: succeed(outlook, seeds, budget, every), target, grows)

    fewest = [(find(budget), budget) for budget in budgets]
    rows = tuple(try_design(seeds, budget, every) for seeds, budget in fewest if seeds is not None)
    answer = min(rows, key=lambda row: (row.seeds * row.budget, row.seeds), default=None)
    budget = max(budgets) if answer is None else answer.budget
    last = MOST if answer is None else 2 * answer.seeds
    curve = [seeds for seeds in _CURVE if seeds <= last]
    grids = [every * factor for factor in (4.0, 2.0, 1.0, 0.5, 0.25, 0.0)] if answer and every else []
    return Plan(
        target=target,
        arms=arms,
        answer=answer,
        curve=tuple(try_design(seeds, budget, every) for seeds in curve),
        budgets=rows,
        grids=tuple(try_design(answer.seeds, budget, other) for other in grids) if answer else (),
        pilot=try_design(outlook.seeds, budget, every) if outlook.seeds else None,
    )


def _find_fewest(succeed: Callable[[int], float], target: float, grows: bool) -> int | None:
    """The fewest seeds with which success reaches the target; every number is tried where it does not grow with them.

    None if none of 1, 2, 4, ... up to `MOST` reaches it.
    """
    low, high = 0, 1
    while succeed(high) < target:
        low, high = high, 2 * high
        if high > MOST:
            return None
    if not grows:
        return next(seeds for seeds in range(1, high + 1) if succeed(seeds) >= target)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if succeed(middle) >= target else (middle, high)
    return high


def _choose_budgets(outlook: Outlook, every: float, budgets: Sequence[float], ratio: float = 1.0) -> list[float]:
    """As given, or on the grid: those by which the seeds of the slower arm have mostly solved."""
    if budgets:
        return sorted({float(budget) for budget in budgets})
    chosen = [outlook.find_budget(share, ratio) for share in _SOLVED]
    return sorted({max(ceil(budget / every), 1) * every if every else budget for budget in chosen})
