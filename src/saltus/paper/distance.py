"""How far the runs of a setting are from the authors' numbers, target by target, and which setting is nearest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from saltus.measure.transitions import EntropyChange, measure_entropy_change, measure_falls, rank_passings
from saltus.paper.setting import PLATEAU_LEVEL
from saltus.paper.targets import read_fall, read_passings, read_plateaus, read_rows
from saltus.studies.results import Result

PASSED = 0.35
"""The loss, in nats, at which the authors' figure of jumps counts a row as passed."""

RANKS = (0, 3, 7, 11, 15)
"""Rows, by the order in which they pass, whose steps are compared: the first and every fourth of 16."""


@dataclass(frozen=True)
class Target:
    """One of the authors' numbers, and how far our seeds are from it."""

    kind: str
    """The kind of run: only settings with runs of the same kinds are comparable."""
    name: str
    """Such as `row 4`; empty where a run of this kind has a single number."""
    theirs: float
    ours: Sequence[float | None]
    """[seed]; None where the step did not come."""
    distances: Sequence[float]
    """Of each seed that says something: of a step |ln(ours / theirs)|, of a number of rows |ours - theirs| / 16, so
    that all are a factor of e."""
    censored: int = 0
    """In how many of the distances the budget stands for a step that did not come, which makes them lower bounds."""


@dataclass(frozen=True)
class Round:
    """A comparison of settings by the same kinds."""

    kinds: list[str]
    distances: dict[str, float]
    """By setting, nearest first, see `average`."""
    censored: dict[str, int]
    """By setting, how many of the distances behind it are lower bounds; where there is one, so is the setting's."""

    def nearest(self, name: str) -> bool | None:
        """Whether a setting is the nearest; None where lower bounds leave it open."""
        others = {other: distance for other, distance in self.distances.items() if other != name}
        if any(self.distances[name] > distance for other, distance in others.items() if not self.censored[other]):
            return False
        if self.censored[name] or any(self.distances[name] > distance for distance in others.values()):
            return None
        return True


def measure_jumps(result: Result, kind: str) -> list[Target]:
    """The steps at which rows of the linear map pass, and how long their falls take.

    Where the budget ends before the authors' step, a censored one says nothing and has no distance; nor has the
    duration where no row fell.
    """
    passings, ranked, budget = read_passings(), rank_rows(result), float(result.budget)
    targets: list[Target] = []
    for rank in RANKS:
        theirs, ours = passings[rank], [seed[rank] for seed in ranked]
        known = [step or budget for step in ours if step is not None or budget > theirs]
        late = sum(step is None for step in ours) if budget > theirs else 0
        distances = [abs(log(step / theirs)) for step in known]
        targets.append(Target(kind, f"row {rank + 1}", theirs, ours, distances, late))
    falls, (low, high) = list_falls(result), read_fall()
    outside = [max(0.0, log(low / fall), log(fall / high)) for fall in falls if fall is not None]
    return [*targets, Target(kind, "a row's fall", sqrt(low * high), falls, outside)]


def rank_rows(result: Result) -> list[list[float | None]]:
    """[seed][rank] the step at which each row passes, soonest first; None within the budget."""
    return rank_passings(result.records.evaluated_steps, result.records.cube("units", "loss"), PASSED)


def list_falls(result: Result) -> list[float | None]:
    """[seed] the median duration of a row's fall, in steps; None where no row fell."""
    falls = measure_falls(result.records.evaluated_steps, result.records.cube("units", "loss"), log(2))
    return [float(np.median(seed)) if seed else None for seed in falls]


def measure_sharpening(result: Result) -> EntropyChange:
    """What the entropy of the heads of the first layer does where rows of the linear map jump."""
    records = result.records
    entropy, mass = (records.cube("heads", name)[:, :, 0] for name in ("entropy", "truth_mass"))
    found = list(result.units.by_seed().values())
    return measure_entropy_change(records.evaluated_steps, entropy, mass, found)


def measure_rows(result: Result, kind: str, sparsity: int) -> list[Target]:
    """The rows of a point of the sparsity curve at S=16, where the authors' loss tells theirs."""
    theirs, ours = read_rows(16, sparsity), [float(rows) for rows in result.learned]
    if theirs is None:
        return []
    return [Target(kind, "rows", theirs, ours, [abs(rows - theirs) / 16 for rows in ours])]


def measure_plateau(result: Result, kind: str, size: int, *, biased: bool) -> list[Target]:
    """The end of the plateau on cellular automata.

    A seed that has not come to it is as far off as its budget at least; a budget that ends before the authors' says
    nothing.
    """
    theirs, ours = float(read_plateaus(biased=biased)[size]), result.passings(PLATEAU_LEVEL)
    telling = [end for end in ours if end is not None or result.budget > theirs]
    distances = [abs(log((end or result.budget) / theirs)) for end in telling]
    return [Target(kind, "", theirs, ours, distances, telling.count(None))]


def average(targets: Sequence[Target]) -> float:
    """The mean over the targets of the mean over the seeds; one setting may have more seeds than another."""
    return float(np.mean([np.mean(target.distances) for target in targets if target.distances]))


def rank_settings(
    settings: Mapping[str, Sequence[Target]], kinds: Sequence[str], *, left_out: Collection[str] = ()
) -> list[Round]:
    """Rank all settings by the kinds that they share; then the settings with runs of every kind, by all kinds.

    Settings are comparable by shared kinds alone. A setting without a run of the first kind has not been tried; the
    settings in `left_out` are left out of the second round.
    """
    known = {name: {target.kind for target in targets if target.distances} for name, targets in settings.items()}
    tried = {name: targets for name, targets in settings.items() if kinds[0] in known[name]}
    shared = [kind for kind in kinds if all(kind in known[name] for name in tried)]
    whole = {name: targets for name, targets in tried.items() if known[name] == set(kinds) and name not in left_out}
    rounds = [_rank(tried, shared)]
    if len(whole) > 1 and len(shared) < len(kinds):
        rounds.append(_rank(whole, kinds))
    return rounds


def _rank(settings: Mapping[str, Sequence[Target]], kinds: Sequence[str]) -> Round:
    chosen = {name: [target for target in targets if target.kind in kinds] for name, targets in settings.items()}
    means = {name: average(targets) for name, targets in chosen.items()}
    return Round(
        list(kinds),
        dict(sorted(means.items(), key=lambda item: item[1])),
        {name: sum(target.censored for target in targets) for name, targets in chosen.items()},
    )
