"""Claims that one architecture finds units sooner than others: only what the seeds show counts as shown."""

from collections.abc import Mapping, Sequence
from math import isinf

import numpy as np

from saltus.measure.interval_tests import adjust_holm, compare_arms
from saltus.seeding import Streams
from saltus.studies.claims import Claim, Verdict
from saltus.studies.gate import Arm, score_learning
from saltus.studies.results import Result

SHOWN = 0.05
"""Largest p-value, adjusted over the arms of a claim, at which a difference counts as shown."""


def rank_arms(arms: Sequence[Arm], *, best: str, over: str) -> list[Claim]:
    """For each cell: that `best` is ahead of all others, and that most of the others are behind `over`."""
    claims: list[Claim] = []
    for cell in dict.fromkeys(cell for arm in arms for cell in arm.cells):
        results = {arm.name: arm.cells[cell] for arm in arms if cell in arm.cells}
        if not {best, over} < results.keys():
            continue
        claims.append(_judge_best(results, best, cell))
        claims.append(_judge_most(results, best, over, cell))
    return claims


def find_sooner(result: Result, others: Mapping[str, Result]) -> dict[str, bool | None]:
    """Whether a result is shown to find its units sooner than each of some others (True), or later; None if neither.

    By a permutation test of whole seeds on the intervals of their units (`measure.interval_tests`), adjusted over the
    others (Holm 1979).
    """
    tests = {name: _compare(result, other) for name, other in others.items()}
    adjusted = adjust_holm([p_value for p_value, _ in tests.values()])
    return {
        name: sooner if p_value <= SHOWN else None
        for (name, (_, sooner)), p_value in zip(tests.items(), adjusted, strict=True)
    }


def _compare(one: Result, other: Result) -> tuple[float, bool]:
    """The p-value, and whether the first is the sooner."""
    ends = [result.units.intervals() for result in (one, other)]
    test = compare_arms(
        np.concatenate([left for left, _ in ends]),
        np.concatenate([right for _, right in ends]),
        np.repeat([0, 1], [len(left) for left, _ in ends]),
        Streams(0).generator("bootstrap"),
        seeds=np.array([f"{arm}/{unit.key.seed}" for arm, result in enumerate((one, other)) for unit in result.units]),
    )
    return test.p_value, test.excess[0] > 0


def _judge_best(results: Mapping[str, Result], best: str, cell: str) -> Claim:
    found = find_sooner(results[best], {name: result for name, result in results.items() if name != best})
    behind, ahead = _split(found)
    verdict: Verdict = "in part" if behind else "open"
    if ahead:
        verdict = "not reproduced"
    elif len(behind) == len(found):
        verdict = "reproduced"
    return Claim(
        f"{best} is ahead of all others, {cell}",
        verdict,
        f"{_say(behind, 'later')}; {_say(ahead, 'sooner')}. {_describe(results)}",
        cell,
    )


def _judge_most(results: Mapping[str, Result], best: str, over: str, cell: str) -> Claim:
    others = {name: result for name, result in results.items() if name not in (best, over)}
    behind, ahead = _split(find_sooner(results[over], others))
    verdict: Verdict = "in part" if len(behind) > len(ahead) else "open"
    if 2 * len(behind) > len(others):
        verdict = "reproduced"
    elif ahead and 2 * len(ahead) >= len(others):  # then most of them cannot be behind
        verdict = "not reproduced"
    return Claim(
        f"most others are behind {over}, {cell}",
        verdict,
        f"of {len(others)} others {_say(behind, 'later')}; {_say(ahead, 'sooner')}",
        cell,
    )


def _split(found: Mapping[str, bool | None]) -> tuple[list[str], list[str]]:
    return [name for name, sooner in found.items() if sooner], [name for name, s in found.items() if s is False]


def _say(names: Sequence[str], how: str) -> str:
    return f"shown to be {how}: {', '.join(names) or 'none'}"


def _describe(results: Mapping[str, Result]) -> str:
    """What each arm learned, the most first."""
    scores = {name: score_learning(result) for name, result in results.items()}
    ranked = sorted(scores, key=lambda name: scores[name], reverse=True)
    told = "; ".join(
        f"{name} {scores[name][0]:.1f}" + ("" if isinf(scores[name][1]) else f", half by {-scores[name][1]:,.0f}")
        for name in ranked
    )
    seeds = sorted({len(result.tasks) for result in results.values()})
    return f"Units learned, mean over {' or '.join(map(str, seeds))} seeds, and the median step of a unit: {told}"
