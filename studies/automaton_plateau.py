"""On cellular automata the plateau grows with the number of cells, and the true pattern as a bias removes it."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import find_first_batches, find_passings
from saltus.paper.setting import (
    LONG,
    PAPER,
    PLATEAU_LEVEL,
    PLATEAU_SIZES,
    describe_long,
    long_plateaus,
    name_plateau,
    plateaus,
)
from saltus.paper.targets import read_targets
from saltus.studies.comparison import Claim, Comparison, Verdict
from saltus.studies.panels import OURS, add_legend, draw_plateaus, draw_theirs, label, open_plate
from saltus.studies.results import Results

runs = [*plateaus(seeds=3), *long_plateaus(seeds=3)]
laptop = [*plateaus((4, 8, 16), seeds=1), *long_plateaus(seeds=1)]


def find_lengths(results: Results, size: int, *, biased: bool) -> list[float | None]:
    """[seed] the step at which the plateau ends."""
    name = name_plateau(size, biased=biased)
    return find_ends(results, name) if name in results else []


def find_ends(results: Results, name: str) -> list[float | None]:
    """[seed] the same, of the run of a name."""
    return [plateau.by for plateau in find_passings(results[name], PLATEAU_LEVEL)]


def draw(results: Results) -> Figure:
    """Plateau length against S, without and with the bias; both axes logarithmic, censored seeds as triangles."""
    figure, axes = open_plate(2)
    for panel, biased in zip(axes, (False, True), strict=True):
        theirs = read_targets("cellular_automata_plateau")["data"]["biased" if biased else "standard"]
        draw_theirs(panel, [int(size) for size in theirs], list(theirs.values()))
        cells = {size: results.get(name_plateau(size, biased=biased)) for size in PLATEAU_SIZES}
        draw_plateaus(panel, cells, PLATEAU_LEVEL, OURS[biased])
        for name, marker in zip(LONG, "oDs", strict=True):
            ends = [] if biased or name not in results else find_ends(results, name)
            for place, end in enumerate(end for end in ends if end is not None):
                told = "" if place else f"ours, S=8 watched to its end, {describe_long(name)}"
                panel.plot(8, end, marker, color=OURS[biased], markerfacecolor="white", label=told)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        title = "with the true pattern as a bias" if biased else "without a bias"
        label(panel, title, "S (cells)", "plateau (steps); triangles: censored")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Plateau length of each cell, and when the first single batch was below, as the authors may have counted."""
    rows: list[Comparison] = []
    for size, biased in [(size, biased) for size in PLATEAU_SIZES for biased in (False, True)]:
        name = name_plateau(size, biased=biased)
        theirs = read_targets("cellular_automata_plateau")["data"]["biased" if biased else "standard"].get(str(size))
        if name in results:
            cell, scale = f"S={size}, {'bias' if biased else 'no bias'}", results.scale(name)
            first = [batch.by for batch in find_first_batches(results[name], PLATEAU_LEVEL)]
            rows += [
                Comparison(cell, theirs, find_lengths(results, size, biased=biased), scale, 0),
                Comparison(f"{cell}, first batch", theirs, first, scale, 0),
            ]
    theirs = read_targets("cellular_automata_plateau")["data"]["standard"]["8"]
    rows += [
        Comparison(
            f"S=8, no bias, watched to its end, {describe_long(name)}",
            theirs,
            find_ends(results, name),
            results.scale(name),
            0,
        )
        for name in LONG
        if name in results
    ]
    return rows


def find_median(results: Results, size: int, *, biased: bool) -> tuple[float, int] | None:
    """The median step at which the plateau ends, infinite if that is censored, and the budget; None if not run."""
    name = name_plateau(size, biased=biased)
    if name not in results:
        return None
    ends = [np.inf if v is None else v for v in find_lengths(results, size, biased=biased)]
    return float(np.median(ends)), results[name].spec.training.steps


def judge(results: Results) -> Sequence[Claim]:
    """The plateau grows with S; the bias shortens it."""
    plain = {s: median for s in PLATEAU_SIZES if (median := find_median(results, s, biased=False))}
    biased = {s: median for s in plain if (median := find_median(results, s, biased=True))}
    claims = [*_judge_wait(results)]
    if len(plain) > 1:
        claims.append(
            Claim(
                "a longer context lengthens the plateau",
                _judge_longer([end for end, _ in plain.values()]),
                "median step at which it ends: " + ", ".join(f"S={s}: {_say(*plain[s])}" for s in plain),
            )
        )
    if biased:
        claims.append(
            Claim(
                "the true pattern as a bias shortens the plateau (S of 8 and more)",
                _judge_shorter([(plain[s][0], *biased[s]) for s in biased if s >= 8]),
                "; ".join(f"S={s}: {_say(*plain[s])} to {_say(*biased[s])}" for s in biased) + " (median steps)",
            )
        )
    return claims


def _judge_wait(results: Results) -> Sequence[Claim]:
    """Whether the plateau without a bias ends at all, and how far from theirs."""
    ends = {name: find_ends(results, name) for name in LONG if name in results}
    if not ends:
        return []
    theirs = read_targets("cellular_automata_plateau")["data"]["standard"]["8"]
    known = [end for seeds in ends.values() for end in seeds if end is not None]
    preset = next((name for name in ends if LONG[name] == PAPER.automaton), None)
    near = (
        preset is not None
        and results.scale(preset) == "full"
        and all(end is not None and abs(np.log(end / theirs)) <= np.log(1.5) for end in ends[preset])
    )
    steps = results[next(iter(ends))].spec.training.steps
    told = "; ".join(
        f"{describe_long(name)} ({results.scale(name)}): "
        + ", ".join("censored" if end is None else f"{end:,.0f}" for end in seeds)
        for name, seeds in ends.items()
    )
    return [
        Claim(
            f"without a bias the plateau of 8 cells ends, at their {theirs} within a factor of 1.5",
            "reproduced" if near else "in part" if known else "not reproduced",
            f"step at which it ends, by seed, watched for {steps:,} steps: {told}",
        )
    ]


def _say(end: float, budget: int) -> str:
    return f"> {budget:,}" if np.isinf(end) else f"{end:,.0f}"


def _judge_longer(ends: Sequence[float]) -> Verdict:
    """Of the ends by S; of two that are both censored nothing is known."""
    telling = [a < b for a, b in itertools.pairwise(ends) if not np.isinf([a, b]).all()]
    if not telling:
        return "not measured"
    whole = len(telling) == len(ends) - 1
    return "reproduced" if whole and all(telling) else "in part" if ends[-1] > ends[0] else "not reproduced"


def _judge_shorter(pairs: Sequence[tuple[float, float, int]]) -> Verdict:
    """Of the end without a bias, with it, and the budget of the latter: one that was over sooner says nothing."""
    telling = [
        with_bias < without for without, with_bias, budget in pairs if not np.isinf(with_bias) or budget >= without
    ]
    if not telling:
        return "not measured"
    whole = len(telling) == len(pairs) and all(telling)
    return "reproduced" if whole else "in part" if any(telling) else "not reproduced"
