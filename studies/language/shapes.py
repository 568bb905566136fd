"""Which shape of a small language model learns repetition soonest at equal operations? A race over heads and layers.

Suites are not runs, so this study is a script: python studies/language/shapes.py
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sooner import ASKED, CONTROL, PAGE, RULE

from saltus import api
from saltus.measure.bootstrap import bootstrap_emergences
from saltus.measure.intervals import Estimate, Floats
from saltus.measure.race import Calibration, History, Order, RaceRules, follow_race
from saltus.seeding import Streams
from saltus.specs.pocket import PocketModelSpec, PocketSpec
from saltus.studies.claims import Claim, Table
from saltus.studies.flops import match_pockets
from saltus.studies.page import write_page
from saltus.studies.panels import OURS, label, open_panels
from saltus.studies.pockets import PocketResult
from saltus.studies.trial import Planned

RECORDS = Path("results/records/language_shapes.parquet")
SEEDS, MARGIN = 8, 1.3

LARGEST = (8, 8, 2)
"""Heads, head dimension and layers of the shape with the most attention; the others have a wider MLP in exchange."""
SHAPES = (LARGEST, (4, 16, 2), (1, 32, 2), (2, 16, 2), (4, 8, 2), (8, 4, 2), (2, 8, 2), (4, 4, 2), (4, 8, 3))


def describe(heads: int, dimension: int, layers: int) -> PocketSpec:
    """The control of the trial in another shape, at the rate and the initialisation that serve it best."""
    name, width = f"h{heads}-d{dimension}-l{layers}", heads * dimension
    size = PocketModelSpec(name=name, layers=layers, d_model=width, heads=heads, d_mlp=width)
    return CONTROL.vary(name=name, models=(size,), learning_rate=4e-3, initialisation_scale=2.0)


SUITES = match_pockets({suite.name: suite for suite in (describe(*shape) for shape in SHAPES)})
"""By name, at equal operations in a step."""


def measure(name: str, seeds: int) -> PocketResult:
    """A shape with so many seeds. Each is a suite of its own, so that a race can ask for more of them."""
    suite = SUITES[name]
    planned = [
        Planned({"shape": name, "seed": seed}, suite.vary(name=f"{name}-{seed}", seeds=1, master_seed=seed))
        for seed in range(seeds)
    ]
    results = api.measure_pockets(planned, capability=ASKED, rule=RULE, kept=RECORDS, processes=1)
    curves = [
        replace(curve, key=curve.key._replace(seed=str(seed)))
        for seed, result in enumerate(results)
        for curve in result.measured
    ]
    return PocketResult({"shape": name}, suite, replace(results[0].measured, curves=tuple(curves)))


def race() -> History:
    """Seeds go to the shapes that may still be the best; each is trained to the end."""
    budget = float(CONTROL.steps - CONTROL.every)  # what comes later cannot be confirmed
    rules = RaceRules(budget, budget, margin=MARGIN, most_seeds=SEEDS)

    def train(order: Order) -> tuple[Floats, Floats]:
        return measure(order.arm, order.seeds).tasks.intervals()

    return follow_race(list(SUITES), Calibration(rules, len(SUITES), Streams(0).generator("race")), train)


def rank(results: list[PocketResult]) -> list[tuple[PocketResult, Estimate]]:
    """Each shape with its median step, the soonest first."""
    found = [(each, bootstrap_emergences(each.tasks, Streams(0).generator("bootstrap")).quantile()) for each in results]
    return sorted(found, key=lambda each: (each[1].value or np.inf, -len(each[0].tasks)))


def draw(ranked: list[tuple[PocketResult, Estimate]]) -> Figure:
    """The median of each shape with its interval."""
    figure, (panel, *_) = open_panels(1, height=3.6)
    for place, (_, median) in enumerate(ranked):
        right = min(median.upper, float(CONTROL.steps))
        panel.plot([median.lower, right], [place, place], color=OURS[0])
        if median.value is not None and np.isfinite(median.value):
            panel.plot([median.value], [place], "o", color=OURS[0])
    panel.set_yticks(range(len(ranked)), [f"{each.key['shape']}, {len(each.tasks)} seeds" for each, _ in ranked])
    panel.invert_yaxis()
    label(panel, "when half of the seeds repeat", "step", "")
    return figure


def tabulate(ranked: list[tuple[PocketResult, Estimate]]) -> list[Table]:
    """The ranking, with the three costs at the median."""
    rows: list[tuple[str, ...]] = []
    for place, (result, median) in enumerate(ranked, 1):
        known = median.value is not None and np.isfinite(median.value)
        cost = result.price(float(median.value or 0.0) if known else result.budget)
        beyond = "" if known else "> "
        upper = "no limit" if np.isinf(median.upper) else f"{median.upper:,.0f}"
        rows.append(
            (
                str(place),
                str(result.key["shape"]),
                str(result.suite.models[0].mlp_width),
                f"{sum(not task.censored for task in result.tasks)} of {len(result.tasks)}",
                f"{beyond}{cost.steps:,.0f}",
                f"{median.lower:,.0f} to {upper}",
                f"{beyond}{cost.tokens:.3g}",
                f"{beyond}{cost.operations:.3g}",
            )
        )
    columns = ("", "shape", "MLP", "seeds with it", "median step", "95%", "tokens", "operations")
    note = "h: heads, d: their dimension, l: layers. Medians by Turnbull's estimate."
    return [Table("Shapes, the soonest first", columns, rows, note)]


def judge(ranked: list[tuple[PocketResult, Estimate]]) -> list[Claim]:
    """Whether the soonest shape of several heads in a layer is sooner than the one with one head."""
    single = next(each for each in ranked if each[0].suite.models[0].heads == 1)
    several = next(each for each in ranked if each[0].suite.models[0].heads > 1)
    sooner, later = several[1].upper < single[1].lower, single[1].upper < several[1].lower
    told = "; ".join(
        f"{result.key['shape']} {median.lower:,.0f} to {median.upper:,.0f}, n={len(result.tasks)}"
        for result, median in (several, single)
    )
    return [
        Claim(
            "at equal operations several heads learn repetition sooner than one",
            "reproduced" if sooner else "not reproduced" if later else "open",
            f"median step of the soonest with several and with one, {told}; one learning rate for all"
            + ("" if sooner or later else "; the intervals overlap"),
            ours=True,
        )
    ]


def main() -> None:
    """Race, train the whole grid beside it, so that every shape has an interval, and write the page."""
    history = race()
    ranked = rank([measure(name, SEEDS) for name in SUITES])
    best = str(ranked[0][0].key["shape"])
    spent, grid = sum(order.seeds for order in history.reached), SEEDS * len(SUITES)
    ended = (
        f"{history.leader} is the soonest"
        if history.ended == "the best is known"
        else f"{history.leader} leads, and is not shown to be {MARGIN:g} times as soon as each of the others"
    )
    dropped = ", ".join(drop.arm for drop in history.drops) or "none"
    page = write_page(
        "language_shapes",
        str(__doc__).splitlines()[0],
        figure=draw(ranked),
        claims=judge(ranked),
        tables=tabulate(ranked),
        note=f"**The race**: {ended}, after {len(history.rounds)} round(s); dropped: {dropped}. It took {spent} "
        f"of the {grid} seeds of the grid, which were trained too: there {best} is the soonest, which "
        f"{'agrees' if best == history.leader else 'does **not** agree'}. Every shape has the operations of the "
        "first in a step, by the width of its MLP, and the same learning rate.",
        command="python studies/language/shapes.py",
        to=PAGE,
    )
    print(f"wrote {page}")  # noqa: T201 - it is a script


if __name__ == "__main__":
    main()
