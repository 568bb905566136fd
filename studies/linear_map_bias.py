"""A bias toward the true map removes the search; a wrong map of equal sparsity does not (linear map, S=16, s=3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned
from saltus.measure.survival import estimate_survival, times_of
from saltus.paper.claims import ON_BIAS
from saltus.paper.setting import PAPER, linear_map
from saltus.specs import BiasSpec
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

BUDGET = 1_000
"""Steps within which the biased model converges (the paper: "in under 1,000 steps")."""

HOLD = 2
"""Evaluations in a row: with the six of the other studies no row counts that came in the last quarter of the budget."""

STRENGTH = PAPER.linear_map.bias

BIASES: dict[str, tuple[str, BiasSpec | None]] = {
    "none": ("no bias", None),
    "truth": (f"toward the truth, c={STRENGTH:g}", BiasSpec(strength=STRENGTH)),
    "weaker": (f"toward the truth, c={STRENGTH / 4:g}", BiasSpec(strength=STRENGTH / 4)),
    "placebo": ("toward a wrong map", BiasSpec(strength=STRENGTH, toward="placebo")),
    "one-key": ("toward one true key of each row", BiasSpec(strength=STRENGTH, keys=1)),
    "half-the-rows": ("toward the truth of 8 rows", BiasSpec(strength=STRENGTH, units=tuple(range(8)))),
    "one-head": ("toward the truth, one head", BiasSpec(strength=STRENGTH, heads=(0,))),
    "released": (
        f"toward the truth, released at {BUDGET // 4}",
        BiasSpec(strength=STRENGTH, until=BUDGET // 4),
    ),
}
"""By name, the description of a bias, and its spec."""


def make(*, seeds: int) -> list[Cell]:
    """A cell for each bias; all have the same map and the same seeds."""
    return [
        Cell(
            bias=name,
            run=linear_map(name, intervention=bias, seeds=seeds, steps=BUDGET, stop_when_solved=False),
        )
        for name, (_, bias) in BIASES.items()
    ]


def count_rows(result: Result) -> list[int]:
    """[seed] the rows that are confirmed within the budget."""
    return count_learned(result.read_units(hold=HOLD)).tolist()


def draw(results: Results) -> Figure:
    """Survival of rows with and without, in one figure; the training loss beside it."""
    figure, axes = open_panels(2, height=3.8)
    for place, (name, result) in enumerate(results.by("bias").items()):
        colour = THEIRS if name == "none" else OURS[(place - 1) % len(OURS)]
        dash, told = "-" if place <= len(OURS) else "--", BIASES[str(name)][0]
        curve = estimate_survival(*times_of(result.read_units(hold=HOLD)))
        axes[0].step(curve.times, curve.survival, where="post", color=colour, linestyle=dash, label=told)
        mean = result.records.cube("steps", "train_loss").mean(0)
        axes[1].plot(result.records.evaluated_steps, mean, color=colour, linestyle=dash, label=told)
    label(axes[0], "rows not yet there (Kaplan-Meier over rows and seeds)", "step", "share")
    axes[0].set_ylim(-0.03, 1.03)
    label(axes[1], "training loss, mean over seeds", "step", "nats")
    add_legend(axes[1])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Rows within the budget: the authors' biased model has all 16."""
    return [
        Comparison(
            f"rows learned in {BUDGET:,} steps, {BIASES[str(name)][0]}",
            16.0 if name == "truth" else None,
            [float(n) for n in count_rows(result)],
            result.scale,
            digits=0,
            note=f"beyond the level at the last evaluation: {', '.join(map(str, result.there_at_end))}",
        )
        for name, result in results.by("bias").items()
    ]


def judge(results: Results) -> Sequence[Claim]:
    """The truth helps, and a placebo does not."""
    claims: list[Claim] = []
    none, truth, placebo = (results.get(bias=name) for name in ("none", "truth", "placebo"))
    if truth:
        rows = np.array(count_rows(truth))
        claims.append(
            Claim(
                f"with the true map as a bias all rows are learned within {BUDGET:,} steps",
                "reproduced" if (rows == 16).all() else "in part" if rows.mean() > 8 else "not reproduced",
                f"rows learned by seed: {', '.join(map(str, rows))} of 16, at {HOLD} evaluations in a row",
            )
        )
    if none and truth and placebo:
        without, helped, misled = (np.array(count_rows(each)) for each in (none, truth, placebo))
        right = helped.min() > without.max() and misled.mean() <= without.mean()
        claims.append(
            Claim(
                "it is the truth that helps, not a bias as such",
                "reproduced" if right else "in part" if helped.mean() > misled.mean() else "not reproduced",
                "rows by seed: "
                + "; ".join(
                    f"{', '.join(map(str, rows))} {told}"
                    for rows, told in (
                        (helped, "toward the truth"),
                        (without, "without"),
                        (misled, "toward a wrong map"),
                    )
                )
                + ". Reproduced is: each seed with the truth has more rows than any without, and a wrong map none more",
                ours=True,
            )
        )
    return claims


study = Study(cells=make(seeds=3), laptop=make(seeds=1), draw=draw, compare=compare, judge=judge, about=ON_BIAS)
