"""A bias toward the true map removes the search; a wrong map of equal sparsity does not (linear map, S=16, s=3)."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from saltus.curves import Emergence
from saltus.measure.outcomes import count_learned, unit_emergences
from saltus.measure.survival import compare_survival, estimate_survival, times_of
from saltus.paper.setting import PAPER, linear_map
from saltus.specs import BiasSpec, RunSpec
from saltus.studies.comparison import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_plate
from saltus.studies.results import Results

BUDGET = 1_000
"""Steps within which the biased model converges (the paper: "in under 1,000 steps")."""

BIASES: dict[str, BiasSpec | None] = {
    "none": None,
    "truth": BiasSpec(strength=PAPER.linear_map.bias),
    "weaker": BiasSpec(strength=PAPER.linear_map.bias / 4),
    "placebo": BiasSpec(strength=PAPER.linear_map.bias, toward="placebo"),
    "one-key": BiasSpec(strength=PAPER.linear_map.bias, keys=1),
    "half-the-rows": BiasSpec(strength=PAPER.linear_map.bias, units=tuple(range(8))),
    "one-head": BiasSpec(strength=PAPER.linear_map.bias, heads=(0,)),
    "released": BiasSpec(strength=PAPER.linear_map.bias, until=BUDGET // 4),
}
NAMES = {
    "none": "no bias",
    "truth": f"toward the truth, c={PAPER.linear_map.bias:g}",
    "weaker": f"toward the truth, c={PAPER.linear_map.bias / 4:g}",
    "placebo": "toward a wrong map",
    "one-key": "toward one true key of each row",
    "half-the-rows": "toward the truth of 8 rows",
    "one-head": "toward the truth, one head",
    "released": f"toward the truth, released at {BUDGET // 4}",
}


def make(*, seeds: int) -> list[RunSpec]:
    """A cell for each bias; all have the same map and the same seeds."""
    return [
        linear_map(name, intervention=bias, seeds=seeds, steps=BUDGET, stop_when_solved=False)
        for name, bias in BIASES.items()
    ]


runs, laptop = make(seeds=3), make(seeds=1)


def list_rows(results: Results, name: str) -> list[Emergence]:
    """The emergences of all rows of all seeds."""
    return [row for seed in unit_emergences(results[name]) for row in seed]


def draw(results: Results) -> Figure:
    """Survival of rows with and without, in one figure; the training loss beside it."""
    figure, axes = open_plate(2, height=3.8)
    for place, name in enumerate(name for name in BIASES if name in results):
        colour = THEIRS if name == "none" else OURS[(place - 1) % len(OURS)]
        dash = "-" if place <= len(OURS) else "--"
        curve = estimate_survival(*times_of(list_rows(results, name)))
        axes[0].step(curve.times, curve.survival, where="post", color=colour, linestyle=dash, label=NAMES[name])
        records = results[name]
        mean = records.cube("steps", "train_loss").mean(0)
        axes[1].plot(records.evaluated_steps, mean, color=colour, linestyle=dash, label=NAMES[name])
    label(axes[0], "rows not yet there (Kaplan-Meier over rows and seeds)", "step", "share")
    axes[0].set_ylim(-0.03, 1.03)
    label(axes[1], "training loss, mean over seeds", "step", "nats")
    add_legend(axes[1])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Rows within the budget: the authors' biased model has all 16."""
    return [
        Comparison(
            f"rows learned in {BUDGET:,} steps, {NAMES[name]}",
            16.0 if name == "truth" else None,
            [float(n) for n in count_learned(records)],
            results.scale(name),
            digits=0,
        )
        for name, records in results.items()
    ]


def judge(results: Results) -> Sequence[Claim]:
    """Truth helps, placebo does not, and what follows from half of it."""
    claims: list[Claim] = []
    if "truth" in results:
        rows = count_learned(results["truth"])
        claims.append(
            Claim(
                f"with the true map as a bias all rows are learned within {BUDGET:,} steps",
                "reproduced" if (rows == 16).all() else "in part" if rows.mean() > 8 else "not reproduced",
                f"rows learned by seed: {', '.join(map(str, rows))}",
            )
        )
    if {"none", "truth", "placebo"} <= set(results):
        curves = {name: times_of(list_rows(results, name)) for name in ("none", "truth", "placebo")}
        placebo = compare_survival(*curves["placebo"], *curves["none"])
        truth = compare_survival(*curves["truth"], *curves["none"])
        learned = {name: count_learned(results[name]).mean() for name in curves}
        right = learned["truth"] > learned["none"] >= learned["placebo"]
        claims.append(
            Claim(
                "it is the truth that helps, not a bias as such (our control)",
                "reproduced" if right else "in part" if learned["truth"] > learned["placebo"] else "not reproduced",
                f"mean rows: {learned['truth']:.1f} toward the truth, {learned['none']:.1f} without, "
                f"{learned['placebo']:.1f} toward a wrong map; log-rank z against none {truth.z:.1f} and "
                f"{placebo.z:.1f} (rows of a seed are not independent: read them as a size, not as a test)",
            )
        )
    return claims
