"""On cellular automata the plateau grows with the number of cells, and the true pattern as a bias removes it."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from saltus.paper.claims import ON_SEARCH
from saltus.paper.setting import FITTED_SIZES, PAPER, PLATEAU_LEVEL, USUAL, automaton, plateau
from saltus.paper.targets import read_plateaus, read_tolerance
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison, Verdict
from saltus.studies.panels import OURS, add_legend, draw_plateaus, draw_theirs, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

SIZES = (4, 8, 16, 32, 64, 128, 256, 512)
"""S of the paper's plateau figures."""

GRID = 20
"""Steps between two evaluations."""

LONG = {
    "long": PAPER.automaton,
    "long-3e-3": replace(USUAL.automaton, learning_rate=3e-3),
    "long-1e-3": USUAL.automaton,
}
"""Settings of the plateau of 8 cells that is watched to its end, by the name of the run."""


def make(sizes: Sequence[int], *, seeds: int) -> list[Cell]:
    """Each size with and without the bias; and 8 cells without, for long enough: the others stop soon after theirs."""
    sized = [
        Cell(
            size=size,
            biased=biased,
            short=True,
            run=plateau(f"size-{size}-{'biased' if biased else 'plain'}", size=size, biased=biased, seeds=seeds),
        )
        for size in sizes
        for biased in (False, True)
    ]
    watched = [
        Cell(
            rate=setting.learning_rate,
            initialisation=setting.initialisation_scale,
            run=automaton(name, size=8, steps=5_000, seeds=seeds, setting=setting),
        )
        for name, setting in LONG.items()
    ]
    return sized + watched


cells, laptop = make(SIZES, seeds=3), make((4, 8, 16), seeds=1)


def describe(watched: Result) -> str:
    """The setting of a plateau that is watched to its end."""
    return f"rate {watched['rate']:g}, initialisation {watched['initialisation']:g}"


def draw(results: Results) -> Figure:
    """Plateau length against S, without and with the bias; both axes logarithmic, censored seeds as triangles."""
    figure, axes = open_panels(2)
    for panel, biased in zip(axes, (False, True), strict=True):
        theirs = read_plateaus(biased=biased)
        draw_theirs(panel, list(theirs), list(theirs.values()))
        draw_plateaus(panel, {s: results.get(size=s, biased=biased) for s in SIZES}, PLATEAU_LEVEL, OURS[biased])
        for watched, marker in zip([] if biased else results.having("rate"), "oDs", strict=False):
            for place, end in enumerate(end for end in watched.passings(PLATEAU_LEVEL) if end is not None):
                told = "" if place else f"ours, S=8 watched to its end, {describe(watched)}"
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
    within = read_tolerance("cellular_automata_plateau")
    for result in results.having("size"):
        size, biased = int(result["size"]), bool(result["biased"])
        theirs = read_plateaus(biased=biased).get(size)
        cell = f"S={size}, {'bias' if biased else 'no bias'}"
        first = result.passings(PLATEAU_LEVEL, "lowest_train_loss")
        off, fitted = None if theirs is None else within * theirs, size in FITTED_SIZES
        rows += [
            Comparison(cell, theirs, result.passings(PLATEAU_LEVEL), result.scale, 0, off, fitted),
            Comparison(f"{cell}, first batch", theirs, first, result.scale, 0, off),
        ]
    theirs = read_plateaus(biased=False)[8]
    rows += [
        Comparison(
            f"S=8, no bias, watched to its end, {describe(watched)}",
            theirs,
            watched.passings(PLATEAU_LEVEL),
            watched.scale,
            0,
            within * theirs,
        )
        for watched in results.having("rate")
    ]
    return rows


def find_medians(results: Results, *, biased: bool) -> dict[int, tuple[float, int]]:
    """By S, the median step at which the plateau ends, infinite if that is censored, and the budget."""
    return {
        size: (float(np.median([end or np.inf for end in result.passings(PLATEAU_LEVEL)])), result.budget)
        for size in SIZES
        if (result := results.get(size=size, biased=biased))
    }


def judge(results: Results) -> Sequence[Claim]:
    """The plateau grows with S; the bias shortens it."""
    plain = find_medians(results, biased=False)
    biased = {s: median for s, median in find_medians(results, biased=True).items() if s in plain}
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
    """Whether the plateau without a bias ends at all, and how far from the authors' end."""
    watched = results.having("rate")
    if not watched:
        return []
    theirs = read_plateaus(biased=False)[8]
    ends = [result.passings(PLATEAU_LEVEL) for result in watched]
    setting = PAPER.automaton
    preset = watched.get(rate=setting.learning_rate, initialisation=setting.initialisation_scale)
    judged = preset or results.get(size=8, biased=False)
    told = "; ".join(
        f"{describe(result)} ({result.scale}): "
        + ", ".join("censored" if end is None else f"{end:,.0f}" for end in seeds)
        for result, seeds in zip(watched, ends, strict=True)
    )
    return [
        Claim(
            f"without a bias the plateau of 8 cells ends, at their {theirs} within a factor of 1.5",
            _judge_ends(judged.passings(PLATEAU_LEVEL), judged.budget, theirs) if judged else "not measured",
            f"judged by the studies' setting (rate {setting.learning_rate:g}, initialisation "
            f"{setting.initialisation_scale:g})"
            + (f", watched for {judged.budget:,} steps" if judged else ", which was not run")
            + f"; other settings, watched for {watched[0].budget:,}: {told}",
        )
    ]


def _judge_ends(ends: Sequence[int | None], budget: int, theirs: int) -> Verdict:
    """Of the ends by seed; None is one that did not come within the budget, which says nothing if that is too short."""
    near = [theirs / 1.5 <= end <= theirs * 1.5 if end is not None else False for end in ends]
    if budget + GRID < 1.5 * theirs and not any(near):
        return "not measured"
    return "reproduced" if all(near) else "in part" if any(near) else "not reproduced"


def _say(end: float, budget: int) -> str:
    return f"> {budget:,}" if np.isinf(end) else f"{end:,.0f}"


def _judge_longer(ends: Sequence[float]) -> Verdict:
    """From the ends by S; two neighbours that are both censored say nothing."""
    telling = [a < b for a, b in itertools.pairwise(ends) if not np.isinf([a, b]).all()]
    if not telling:
        return "not measured"
    whole = len(telling) == len(ends) - 1
    return "reproduced" if whole and all(telling) else "in part" if ends[-1] > ends[0] else "not reproduced"


def _judge_shorter(pairs: Sequence[tuple[float, float, int]]) -> Verdict:
    """From the end without a bias, the end with it, and the latter's budget, which has to reach the end without."""
    telling = [
        with_bias < without for without, with_bias, budget in pairs if not np.isinf(with_bias) or budget >= without
    ]
    if not telling:
        return "not measured"
    whole = len(telling) == len(pairs) and all(telling)
    return "reproduced" if whole else "in part" if any(telling) else "not reproduced"


study = Study(cells=cells, laptop=laptop, draw=draw, compare=compare, judge=judge, about=ON_SEARCH)
