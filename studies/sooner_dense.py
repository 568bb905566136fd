"""Does anything help where half of the keys are true? S=16, s=8 by rate: a bias, biased inputs, and their placebos."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from saltus.measure.survival import estimate_survival, times_of
from saltus.paper.setting import PAPER
from saltus.specs import BiasSpec, InputBiasPhase, LinearMapSpec, RunSpec, ScheduleSpec, TrainingSpec, TransformerSpec
from saltus.studies.cells import Cell, vary_run
from saltus.studies.claims import Claim, Table, Verdict
from saltus.studies.panels import OURS, THEIRS, add_legend, draw_ours, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
REPORTED = 1e-3
"""The rate at which a public replication saw a biased model stay at chance."""

STRENGTH = PAPER.linear_map.bias

FIRST = InputBiasPhase(zero=0.9, steps=500)
"""One symbol nine times in ten at first, annealed to half in so many steps."""

CONTROL = "neither"

ARMS = {
    CONTROL: {},
    "bias toward the truth": {"intervention": BiasSpec(strength=STRENGTH)},
    "bias toward a wrong map": {"intervention": BiasSpec(strength=STRENGTH, toward="placebo")},
    "biased inputs first": {"curriculum": (FIRST,)},
    "biased inputs of another map": {"curriculum": (FIRST.model_copy(update={"source": "other"}),)},
}
COLOURS = dict(zip(ARMS, (THEIRS, *OURS), strict=False))

HELPS = {
    "the true map as a bias makes dense rows come, at some rate": ("bias toward the truth", "bias toward a wrong map"),
    "biased inputs first, which know nothing of the truth, make dense rows come, at some rate": (
        "biased inputs first",
        "biased inputs of another map",
    ),
}
"""By claim, an arm and its placebo."""

RUN = RunSpec(
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
"""Half of the paper's width, and a tenth of its steps: with neither nothing is due by then."""


def make(rate: float, arm: str) -> Cell:
    """A rate with one of the arms; all have the same map and the same seeds."""
    name = f"{arm.replace(' ', '-')}-{rate:g}"
    return Cell(
        rate=rate, arm=arm, brief=True, run=vary_run(RUN, training={"learning_rate": rate}, name=name, **ARMS[arm])
    )


def draw(results: Results) -> Figure:
    """Rows learned at each rate; rows not yet there over steps, each arm at the rate at which it learned most."""
    figure, axes = open_panels(2, height=3.8)
    for arm, colour in COLOURS.items():
        cells = results.where(arm=arm).by("rate")
        draw_ours(axes[0], RATES, [cells[rate].learned if rate in cells else [] for rate in RATES], arm, colour)
        if best := max(cells.values(), key=lambda each: float(each.learned.mean()), default=None):
            curve = estimate_survival(*times_of(best.units))
            axes[1].step(curve.times, curve.survival, where="post", color=colour, label=f"{arm}, {best['rate']:g}")
    axes[0].set_xscale("log")
    label(axes[0], "S=16, s=8", "learning rate", f"rows of 16 in {RUN.training.steps:,} steps")
    axes[1].set_ylim(-0.03, 1.03)
    label(axes[1], "rows not yet there, each at its best rate", "step", "share (Kaplan-Meier)")
    add_legend(axes[0])
    add_legend(axes[1])
    return figure


def tabulate(results: Results) -> Sequence[Table]:
    """Rows learned by seed in every cell, and what it costs until half of the rows are there."""
    rows = [
        (f"{rate:g}", *(_tell(results.get(arm=arm, rate=rate)) for arm in ARMS))
        for rate in RATES
        if any(results.get(arm=arm, rate=rate) for arm in ARMS)
    ]
    costs = [
        (f"{result['rate']:g}", str(result["arm"]), *_price(result))
        for rate in RATES
        for result in results.where(rate=rate)
    ]
    note = (
        "Of one seed, at the median step of a row (Kaplan-Meier over rows and seeds); more than the budget where that "
        "does not come. Operations: those of the products, forward and backward, by arithmetic on the description."
    )
    return [
        Table("Rows learned, by seed", ("rate", *ARMS), rows),
        Table(
            "What it costs until half of the rows are there",
            ("rate", "arm", "step", "tokens", "operations"),
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
    """Whether each arm helps at any rate, and whether a bias does at the one at which somebody saw it fail."""
    told = results.get(arm="bias toward the truth", rate=REPORTED)
    chance = None if told is None else not told.learned.any()
    return [
        *(_judge_help(results, claim, *arms) for claim, arms in HELPS.items()),
        Claim(
            f"at a rate of {REPORTED:g} the biased model stays at chance, as a replication reports",
            "not measured" if chance is None else "reproduced" if chance else "not reproduced",
            f"rows learned by seed: {_tell(told)}",
            ours=True,
        ),
    ]


def _judge_help(results: Results, claim: str, arm: str, placebo: str) -> Claim:
    """At the rate at which most seeds of the arm have more rows than any of the control and of the placebo."""
    words: dict[Verdict, str] = {"reproduced": "all", "in part": "some", "not reproduced": "none"}
    helped: dict[float, Verdict] = {}
    for rate in RATES:
        cells = [results.get(arm=each, rate=rate) for each in (CONTROL, arm, placebo)]
        known = [each.learned for each in cells if each is not None]
        if len(known) == len(cells):
            without, changed, misled = known
            best = max(without.max(), misled.max())
            helped[rate] = (
                "reproduced" if changed.min() > best else "in part" if changed.max() > best else "not reproduced"
            )
    told = "; ".join(f"{rate:g}: {words[verdict]}" for rate, verdict in helped.items())
    return Claim(
        claim,
        min(helped.values(), key=list(words).index) if helped else "not measured",
        f"of its seeds those that have more rows than any of control and placebo, by rate: {told or 'not run'}",
        ours=True,
    )


study = Study(cells=[make(rate, arm) for rate in RATES for arm in ARMS], draw=draw, tabulate=tabulate, judge=judge)
