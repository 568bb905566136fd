"""How far the runs of a setting are from the authors' numbers, target by target, and which setting is nearest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from saltus.measure.transitions import measure_falls, rank_passings
from saltus.paper.setting import PLATEAU_LEVEL
from saltus.paper.targets import read_targets
from saltus.studies.results import Result

PASSED = 0.35
"""The loss, in nats, at which the authors' figure of jumps counts a row as passed."""

RANKS = (0, 3, 7, 11, 15)
"""Rows, by the order in which they pass, whose steps are compared: the first and every fourth of 16."""

WATCHED = 1.5
"""Lengths of the authors' plateau after which one counts as censored, whatever the budget of its cell."""


@dataclass(frozen=True)
class Term:
    """How far one seed is from one target."""

    kind: str
    """What its run is of: only settings that have runs of the same kinds are comparable."""
    target: str
    """Which of the numbers of that kind: the rank of a row, the duration of a fall, s or S."""
    distance: float
    """Of a step |ln(ours / theirs)|; of a number of rows |ours - theirs| / 16, so that all are a factor of e."""
    censored: bool
    """Whether the step did not come; the budget stands for it then, and the distance is a lower bound."""


@dataclass(frozen=True)
class Round:
    """A comparison of settings by the same kinds."""

    kinds: list[str]
    distances: dict[str, float]
    """By setting, nearest first, see `average`."""
    censored: dict[str, int]
    """By setting, how many terms of that are censored."""


def measure_jumps(result: Result, kind: str) -> list[Term]:
    """The steps at which rows of the linear map pass, and how long their falls take.

    Where the budget ends before the authors' step, a censored one says nothing and has no term; nor has the duration
    where no row fell.
    """
    data = read_targets("linear_map_jumps")["data"]
    theirs = data["step at which each row's loss passes 0.35"]
    low, high = data["duration of one row's fall"]
    budget = float(result.budget)
    steps = [
        Term(kind, str(rank), abs(log((seed[rank] or budget) / theirs[rank])), censored=seed[rank] is None)
        for seed in rank_rows(result)
        for rank in RANKS
        if seed[rank] is not None or budget > theirs[rank]
    ]
    falls = [
        Term(kind, "fall", max(0.0, log(low / fall), log(fall / high)), censored=False)
        for fall in list_falls(result)
        if fall is not None
    ]
    return steps + falls


def rank_rows(result: Result) -> list[list[float | None]]:
    """[seed][rank] the step at which each row passes, soonest first; None within the budget."""
    return rank_passings(result.records.evaluated_steps, result.records.cube("units", "loss"), PASSED)


def list_falls(result: Result) -> list[float | None]:
    """[seed] the median duration of a row's fall, in steps; None where no row fell."""
    falls = measure_falls(result.records.evaluated_steps, result.records.cube("units", "loss"), log(2))
    return [float(np.median(seed)) if seed else None for seed in falls]


def measure_rows(result: Result, kind: str, sparsity: str) -> list[Term]:
    """The rows of a point of the sparsity curve at S=16."""
    theirs = float(np.mean(read_targets("linear_map_sparsity")["data"]["S=16 rows learned by seed"][sparsity]))
    return [Term(kind, sparsity, abs(float(n) - theirs) / 16, censored=False) for n in result.learned]


def measure_plateau(result: Result, kind: str, size: str, *, biased: bool) -> list[Term]:
    """The end of the plateau on cellular automata; a budget that ends before the authors' says nothing."""
    theirs = float(read_targets("cellular_automata_plateau")["data"]["biased" if biased else "standard"][size])
    budget = float(result.budget)
    terms: list[Term] = []
    for end in result.passings(PLATEAU_LEVEL):
        step = min(end.by or budget, WATCHED * theirs)
        late = end.by is None or end.by > WATCHED * theirs
        if not late or step > theirs:
            terms.append(Term(kind, size, abs(log(step / theirs)), censored=late))
    return terms


def average(terms: Sequence[Term]) -> float:
    """The mean over the targets of the mean over the seeds, of which one setting may have more than another."""
    by_target: dict[tuple[str, str], list[float]] = {}
    for term in terms:
        by_target.setdefault((term.kind, term.target), []).append(term.distance)
    return float(np.mean([np.mean(distances) for distances in by_target.values()]))


def compare_settings(settings: Mapping[str, Sequence[Term]], kinds: Sequence[str]) -> Round:
    """Rank settings by the terms of these kinds, of which each must have some."""
    chosen = {name: [term for term in terms if term.kind in kinds] for name, terms in settings.items()}
    means = {name: average(terms) for name, terms in chosen.items()}
    return Round(
        list(kinds),
        dict(sorted(means.items(), key=lambda item: item[1])),
        {name: sum(term.censored for term in terms) for name, terms in chosen.items()},
    )
