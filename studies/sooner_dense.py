"""Does the true map as a bias help where half of the keys are true? S=16, s=8, by learning rate, beside a wrong map."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from saltus.measure.survival import estimate_survival, times_of
from saltus.paper.setting import PAPER
from saltus.specs import BiasSpec, LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.studies.cells import Cell, vary_run
from saltus.studies.claims import Claim, Table, Verdict
from saltus.studies.panels import OURS, THEIRS, add_legend, draw_ours, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
REPORTED = 1e-3
"""The rate at which a public replication saw a biased model stay at chance."""

STRENGTH = PAPER.linear_map.bias

BIASES = {
    "no bias": None,
    "toward the truth": BiasSpec(strength=STRENGTH),
    "toward a wrong map": BiasSpec(strength=STRENGTH, toward="placebo"),
}
COLOURS = dict(zip(BIASES, (THEIRS, *OURS), strict=False))

CONTROL = RunSpec(
    task=LinearMapSpec(size=16, sparsity=8),
    model=TransformerSpec(d_model=64, heads=8, d_mlp=256),
    training=TrainingSpec(
        steps=1_000,
        batch_sequences=64,
        evaluate=ScheduleSpec(every=25),
        patterns=False,
        compile=False,
        stop_when_solved=True,
    ),
    seeds=8,
)
"""Half of the paper's width, and a tenth of its steps: without a bias nothing is due by then."""


def make(rate: float, told: str) -> Cell:
    """A rate with one of the biases; all have the same map and the same seeds."""
    bias = BIASES[told]
    name = f"{told.replace(' ', '-')}-{rate:g}"
    return Cell(
        rate=rate, bias=told, run=vary_run(CONTROL, training={"learning_rate": rate}, name=name, intervention=bias)
    )


def draw(results: Results) -> Figure:
    """Rows learned at each rate; rows not yet there over steps, at the rate at which the truth helps most."""
    figure, axes = open_panels(2, height=3.8)
    for told, colour in COLOURS.items():
        cells = results.where(bias=told).by("rate")
        draw_ours(axes[0], RATES, [cells[rate].learned if rate in cells else [] for rate in RATES], told, colour)
    axes[0].set_xscale("log")
    label(axes[0], f"S=16, s=8, c={STRENGTH:g}", "learning rate", f"rows of 16 in {CONTROL.training.steps:,} steps")
    best = max(results.where(bias="toward the truth"), key=lambda each: float(each.learned.mean()), default=None)
    for told, colour in COLOURS.items():
        if best and (result := results.get(bias=told, rate=best["rate"])):
            curve = estimate_survival(*times_of(result.units))
            axes[1].step(curve.times, curve.survival, where="post", color=colour, label=told)
    axes[1].set_ylim(-0.03, 1.03)
    label(axes[1], f"rows not yet there, rate {best['rate'] if best else 0:g}", "step", "share (Kaplan-Meier)")
    add_legend(axes[0])
    return figure


def tabulate(results: Results) -> Sequence[Table]:
    """Rows learned by seed in every cell, and what it costs until half of the rows are there."""
    rows = [
        (f"{rate:g}", *(_tell(results.get(bias=told, rate=rate)) for told in BIASES))
        for rate in RATES
        if any(results.get(bias=told, rate=rate) for told in BIASES)
    ]
    costs = [
        (f"{result['rate']:g}", str(result["bias"]), *_price(result))
        for rate in RATES
        for result in results.where(rate=rate)
    ]
    note = (
        "Of one seed, at the median step of a row (Kaplan-Meier over rows and seeds); more than the budget where that "
        "does not come. Operations: those of the products, forward and backward, by arithmetic on the description."
    )
    return [
        Table("Rows learned, by seed", ("rate", *BIASES), rows),
        Table(
            "What it costs until half of the rows are there",
            ("rate", "bias", "step", "tokens", "operations"),
            costs,
            note,
        ),
    ]


def _price(result: Result) -> tuple[str, ...]:
    step = estimate_survival(*times_of(result.units)).median
    cost = result.price(result.budget if step is None else step)
    sign = "> " if step is None else ""
    return tuple(
        f"{sign}{value:{form}}"
        for value, form in ((cost.steps, ",.0f"), (cost.tokens, ".3g"), (cost.operations, ".3g"))
    )


def _tell(result: Result | None) -> str:
    return "not run" if result is None else ", ".join(map(str, result.learned))


def judge(results: Results) -> Sequence[Claim]:
    """Whether the truth helps at any rate, and whether it does at the one at which somebody saw it fail."""
    words: dict[Verdict, str] = {"reproduced": "all", "in part": "some", "not reproduced": "none"}
    helped: dict[float, Verdict] = {}
    chance: bool | None = None
    for rate in RATES:
        cells = [results.get(bias=told, rate=rate) for told in BIASES]
        known = [each.learned for each in cells if each is not None]
        if len(known) == len(BIASES):
            without, toward, misled = known
            best = max(without.max(), misled.max())
            helped[rate] = (
                "reproduced" if toward.min() > best else "in part" if toward.max() > best else "not reproduced"
            )
            chance = not toward.any() if rate == REPORTED else chance
    told = "; ".join(f"{rate:g}: {words[verdict]}" for rate, verdict in helped.items())
    return [
        Claim(
            "the true map as a bias makes dense rows come, at some rate",
            min(helped.values(), key=list(words).index) if helped else "not measured",
            "of the seeds with the truth those that have more rows than any without or toward a wrong map, by rate: "
            + (told or "not run"),
            ours=True,
        ),
        Claim(
            f"at a rate of {REPORTED:g} the biased model stays at chance, as a replication reports",
            "not measured" if chance is None else "reproduced" if chance else "not reproduced",
            f"rows learned by seed: {_tell(results.get(bias='toward the truth', rate=REPORTED))}",
            ours=True,
        ),
    ]


study = Study(cells=[make(rate, told) for rate in RATES for told in BIASES], draw=draw, tabulate=tabulate, judge=judge)
