"""At the batch that was found: bias and initialisation chosen at 8 cells alone, then larger automata predicted."""

import math
from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from automaton_batch import BATCH, again
from saltus.paper.distance import Round, Target, measure_plateau, rank_settings
from saltus.paper.setting import PLATEAU_LEVEL, USUAL, automaton
from saltus.paper.targets import read_plateaus, read_tolerance
from saltus.specs import BiasSpec, ScheduleSpec
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison, Table, Verdict
from saltus.studies.panels import OURS, THEIRS, add_legend, draw_plateaus, draw_theirs, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

RATE = 3e-3
"""At which the plateau without a bias ended soonest."""

STRENGTHS = (1.0, 2.0, 4.0)
"""c of the bias c*A that is chosen; 0 stands for none."""

INITIALISATIONS = (1.0, 0.5)

SIZE = 8
"""S of the automata by whose plateaus strength and initialisation are chosen."""

PREDICTED = (16, 32, 64)

BEYOND = 128
"""With the bias, larger than what the authors' figure has; it is watched for as long as the largest that it has."""

FACTOR = 1.5
"""Within which a plateau is as long as the authors'."""

NEVER = 10_000
"""Steps in which the authors' plateau of 64 cells does not end without a bias."""

LONGEST = 1_500
"""Steps after which a plateau is not waited for any longer."""

KINDS = ("without a bias", "with the bias")

Choice = tuple[float, float]
"""Strength of the bias and scale of the initialisation."""

CHOICES: Sequence[Choice] = [(strength, scale) for scale in INITIALISATIONS for strength in STRENGTHS]


def make(size: int, strength: float, initialisation: float) -> Cell:
    """One seed, for one and a half times as long as the authors' plateau, or for `LONGEST`."""
    known = read_plateaus(biased=strength > 0.0)
    theirs = known.get(size, known[max(known)] if strength else NEVER)
    setting = replace(USUAL.automaton, batch=BATCH, learning_rate=RATE, initialisation_scale=initialisation)
    run = automaton(
        f"refit-{size}-{strength:g}-{initialisation:g}",
        size=size,
        steps=min(LONGEST, math.ceil(FACTOR * theirs / 20) * 20),
        seeds=1,
        setting=setting,
        intervention=BiasSpec(strength=strength) if strength else None,
        precision="bfloat16",
        checkpoint=ScheduleSpec(every=20, factor=1000),
    )
    if (size, strength, initialisation) == (SIZE, 0.0, 1.0):
        run = again(0)  # trained once for both studies
    return Cell(size=size, strength=strength, initialisation=initialisation, short=True, run=run)


def draw(results: Results) -> Figure:
    """Loss against step at 8 cells; plateau length against S with what was chosen there, without and with the bias."""
    figure, axes = open_panels(3, height=3.6)
    for place, result in enumerate(results.where(size=SIZE)):
        steps = result.records.evaluated_steps
        (losses,) = result.records.cube("steps", "train_loss")
        axes[0].plot(
            steps,
            losses,
            color=OURS[place % len(OURS)],
            linestyle="-" if place < len(OURS) else "--",
            linewidth=1.2,
            label=describe(result),
        )
    axes[0].set_xlim(0, 1_000)  # room for the legend
    axes[0].axhline(PLATEAU_LEVEL, color=THEIRS, linewidth=0.8, linestyle=":")
    label(axes[0], f"S={SIZE}, {BATCH:,} tokens", "step", f"training loss (nats); dotted: {PLATEAU_LEVEL}")
    add_legend(axes[0])
    chosen = choose(results)
    for panel, biased in zip(axes[1:], (False, True), strict=True):
        theirs = read_plateaus(biased=biased)
        draw_theirs(panel, list(theirs), list(theirs.values()))
        sizes = (SIZE, *PREDICTED)
        cells = {size: find(results, size, chosen, biased=biased) if chosen else None for size in sizes}
        draw_plateaus(panel, cells, PLATEAU_LEVEL, OURS[biased])
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        label(panel, "with the bias that was chosen" if biased else "without a bias", "S (cells)", "plateau (steps)")
        add_legend(panel)
    return figure


def describe(result: Result) -> str:
    """What was done in a cell."""
    strength, initialisation = float(result["strength"]), float(result["initialisation"])
    return f"{f'bias of {strength:g}' if strength else 'no bias'}, initialisation {initialisation:g}"


def name(choice: Choice) -> str:
    """A choice in words."""
    return f"bias of {choice[0]:g}, initialisation {choice[1]:g}"


def find(results: Results, size: int, choice: Choice, *, biased: bool) -> Result | None:
    """The cell of a size with what was chosen."""
    return results.get(size=size, strength=choice[0] if biased else 0.0, initialisation=choice[1])


def rank(results: Results) -> Round:
    """The choices with both plateaus of 8 cells, nearest first; one that did not end leaves a lower bound."""
    found: dict[str, list[Target]] = {}
    for choice in CHOICES:
        both = [find(results, SIZE, choice, biased=biased) for biased in (False, True)]
        targets = [
            target
            for result, biased in zip(both, (False, True), strict=True)
            if result is not None
            for target in measure_plateau(result, KINDS[biased], SIZE, biased=biased)
        ]
        if len(targets) == len(both):
            found[name(choice)] = targets
    return rank_settings(found, KINDS)[0]


def choose(results: Results) -> Choice | None:
    """The choice that is nearest at 8 cells; None unless all have been run, or where lower bounds leave it open."""
    ranked = rank(results)
    if len(ranked.distances) < len(CHOICES):
        return None
    return next((choice for choice in CHOICES if ranked.nearest(name(choice))), None)


def follow(results: Results, scale: str) -> list[Cell]:
    """Larger automata with what was chosen, untouched; those with the bias first, which cost less."""
    del scale
    chosen = choose(results)
    if chosen is None:
        return []
    predicted = [make(size, strength, chosen[1]) for strength in (chosen[0], 0.0) for size in PREDICTED]
    return [*predicted, make(BEYOND, *chosen)]


def compare(results: Results) -> Sequence[Comparison]:
    """Plateau length of each cell beside the authors'; those of 8 cells are fitted."""
    rows: list[Comparison] = []
    within = read_tolerance("cellular_automata_plateau")
    for result in results:
        size, biased = int(result["size"]), float(result["strength"]) > 0.0
        theirs = read_plateaus(biased=biased).get(size)
        rows.append(
            Comparison(
                f"S={size}, {describe(result)}",
                theirs,
                result.passings(PLATEAU_LEVEL),
                result.scale,
                digits=0,
                tolerance=None if theirs is None else within * theirs,
                fitted=size == SIZE,
            )
        )
    return rows


def tabulate(results: Results) -> Sequence[Table]:
    """How far each choice is from the authors at 8 cells."""
    ranked, chosen = rank(results), choose(results)
    rows = [
        (
            named,
            f"{'at least ' if ranked.censored[named] else ''}{distance:.2f}",
            "chosen" if chosen and named == name(chosen) else "",
        )
        for named, distance in ranked.distances.items()
    ]
    note = "Mean of |ln(ours / theirs)| over the two plateaus; nothing is chosen until all settings are there."
    return [Table("Distance to the authors at 8 cells", ("setting", "distance", ""), rows, note)] if rows else []


def judge(results: Results) -> Sequence[Claim]:
    """Whether what was chosen at 8 cells gives the authors' plateaus at more."""
    chosen = choose(results)
    near: list[bool | None] = []
    told: list[str] = []
    for size in PREDICTED:
        for biased in (False, True):
            theirs = read_plateaus(biased=biased).get(size)
            if theirs is None:
                continue
            result = find(results, size, chosen, biased=biased) if chosen else None
            end = result.passings(PLATEAU_LEVEL)[0] if result else None
            near.append(None if result is None else end is not None and theirs / FACTOR <= end <= theirs * FACTOR)
            ours = "not run" if result is None else end or f"> {result.budget:,}"
            told.append(f"S={size}, {'bias' if biased else 'no bias'}: {ours} for {theirs:,}")
    if chosen is None:
        told = ["nothing is chosen yet"]
    return [
        Claim(
            f"with {BATCH:,} tokens, and bias and initialisation chosen at {SIZE} cells alone, plateaus of larger "
            f"automata end where the authors' do, within a factor of {FACTOR:g}",
            _judge_near(near),
            "; ".join(told),
            ours=True,
        )
    ]


def _judge_near(near: Sequence[bool | None]) -> Verdict:
    """Of each prediction whether it holds; None where it was not run, and then not all can be said to hold."""
    if all(each is None for each in near):
        return "not measured"
    return "reproduced" if all(near) else "in part" if any(near) else "not reproduced"


study = Study(
    cells=[make(SIZE, strength, scale) for scale in INITIALISATIONS for strength in (0.0, *STRENGTHS)],
    draw=draw,
    compare=compare,
    judge=judge,
    tabulate=tabulate,
    follow=follow,
)
