"""Is it the batch that decides when the plateau without a bias ends? S=8, 131,072 tokens in a batch, three rates."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from saltus.paper.levels import measure_level
from saltus.paper.setting import PLATEAU_LEVEL, USUAL, automaton
from saltus.paper.targets import read_plateaus
from saltus.seeding import Streams
from saltus.specs import CellularAutomatonSpec, RunSpec, ScheduleSpec
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison, Verdict
from saltus.studies.panels import OURS, THEIRS, add_shared_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

BATCH = 131_072
"""Tokens in a batch. The other studies have a sixteenth of it."""

STEPS = 600

RATES = {"3e-3": 3e-3, "1e-2": 1e-2, "1e-3": 1e-3}
"""By their names in the names of runs."""

KNOWN = {"the shares of symbols": (), "one cell above": (0,), "two cells above": (0, 1)}
"""Cells of the state before, relative to the one that is predicted."""

ENDS = (250, 565)
"""Steps between which the plateau ends if the batch decides: the authors' 377 within a factor of 1.5."""

HARMLESS = 0.1
"""Share of the plateau by which it may be longer or shorter in bfloat16: two evaluations."""


def make(name: str, rate: float, *, master_seed: int = 0, **training: Any) -> RunSpec:
    """One seed. A step takes many seconds of a core, hence a checkpoint every 20 steps."""
    setting = replace(USUAL.automaton, batch=BATCH, learning_rate=rate)
    often = ScheduleSpec(every=20, factor=1000)
    return automaton(
        f"batch-{BATCH}-{name}",
        size=8,
        steps=STEPS,
        seeds=1,
        setting=setting,
        master_seed=master_seed,
        checkpoint=often,
        **training,
    )


def again(seed: int) -> RunSpec:
    """A rate of 3e-3 once more, in bfloat16; 0 is the seed of the float32 runs."""
    return make(f"3e-3-again-{seed}", 3e-3, master_seed=seed, precision="bfloat16")


def draw(results: Results) -> Figure:
    """Loss against step at each rate; the level of the plateau, and where the authors' ends, in grey."""
    figure, (panel,) = open_panels(1, height=3.8)
    for place, result in enumerate(results):
        steps = result.records.evaluated_steps
        for losses in result.records.cube("steps", "train_loss"):
            panel.plot(steps, losses, color=OURS[place], linewidth=1.2, label=describe(result))
    panel.axhline(PLATEAU_LEVEL, color=THEIRS, linewidth=0.8, linestyle=":")
    theirs = read_plateaus(biased=False)[8]
    panel.axvline(theirs, color=THEIRS, linewidth=1.4, label=f"authors' plateau ends (read off): {theirs}")
    panel.axvspan(*ENDS, color=THEIRS, alpha=0.15, linewidth=0)
    label(panel, f"S=8, no bias, {BATCH:,} tokens", "step", f"training loss (nats); dotted: {PLATEAU_LEVEL}")
    add_shared_legend(figure)
    return figure


def describe(result: Result) -> str:
    """Rate, which seed where one came again, and the precision where it is not float32."""
    seed, precision = result.key.get("again"), result.key.get("precision")
    return (
        f"rate {result['rate']:g}"
        + ("" if seed is None else f", seed {seed}")
        + (f", {precision}" if precision else "")
    )


def compare(results: Results) -> Sequence[Comparison]:
    """Plateau length at each rate; and what the level of the plateau means at each S."""
    levels = [
        Comparison(
            f"S={size}: loss of a predictor that knows {told}",
            PLATEAU_LEVEL,
            [measure_level(CellularAutomatonSpec(size=size, rules="fresh"), known, Streams(0).generator("evaluation"))],
            "arithmetic",
        )
        for size in (8, 16, 32, 64)
        for told, known in KNOWN.items()
    ]
    return levels + [
        Comparison(
            f"S=8, no bias, {BATCH:,} tokens, {describe(result)}",
            read_plateaus(biased=False)[8],
            result.passings(PLATEAU_LEVEL),
            result.scale,
            digits=0,
        )
        for result in results
    ]


def judge(results: Results) -> Sequence[Claim]:
    """Whether the plateau ends where it has to if the batch decides, at any rate; and whether bfloat16 harms."""
    ends: dict[float, list[str]] = {}
    near: dict[float, dict[int, bool | None]] = {}
    for result in results:
        rate, seed = float(result["rate"]), int(result.key.get("again", 0))
        end = result.passings(PLATEAU_LEVEL)[0]
        ends.setdefault(rate, []).append(f"> {result.budget:,}" if end is None else f"{end:,}")
        near.setdefault(rate, {}).setdefault(seed, _is_near(end, result.budget))  # once, in whatever precisions
    told = [f"{rate:g}: {', '.join(seeds)}" for rate, seeds in ends.items()]
    told += [f"{rate:g}: not run" for rate in RATES.values() if rate not in ends]
    return [
        Claim(
            f"the batch is what decides: with {BATCH:,} tokens the plateau of 8 cells ends between {ENDS[0]} and "
            f"{ENDS[1]} steps",
            _judge_ends([list(seeds.values()) for seeds in near.values()]),
            f"step at which it ends, by rate: {'; '.join(told)}",
            ours=True,
        ),
        *_judge_precision(results),
    ]


def _judge_precision(results: Results) -> Sequence[Claim]:
    """Whether the seed that was trained in both precisions leaves the plateau at about the same step in both."""
    both = [each for each in results.where(rate=3e-3) if each.key.get("again", 0) == 0]
    exact, low = (each.passings(PLATEAU_LEVEL)[0] for each in both) if len(both) == 2 else (None, None)
    if exact is None:
        return []
    near = low is not None and abs(low - exact) <= HARMLESS * exact
    return [
        Claim(
            f"in bfloat16 the same seed leaves the plateau within {HARMLESS:.0%} of its step in float32",
            "reproduced" if near else "not reproduced",
            f"{exact:,} in float32, {'censored' if low is None else f'{low:,}'} in bfloat16, of one seed",
            ours=True,
        )
    ]


def _is_near(end: int | None, budget: int) -> bool | None:
    """Whether a plateau ends in time; None where its run ended before that could be said."""
    if end is None and budget < ENDS[1]:
        return None
    return end is not None and ENDS[0] <= end <= ENDS[1]


def _judge_ends(near: Sequence[Sequence[bool | None]]) -> Verdict:
    """[rate][seed]; the rate with the most seeds decides."""
    seeds = max(near, key=len, default=())
    if not seeds:
        return "not measured"
    if all(seeds):
        return "reproduced"
    return "in part" if any(any(each) for each in near) else "open" if None in seeds else "not reproduced"


study = Study(
    cells=[
        *(Cell(rate=RATES[name], short=True, run=make(name, RATES[name])) for name in ("3e-3", "1e-2")),
        # The rate at which it ended soonest: its seed once more in bfloat16, which shows whether that does harm, and
        # two more seeds, each a cell, so that one can be kept without the other.
        *(Cell(rate=3e-3, again=i, precision="bfloat16", short=True, run=again(i)) for i in range(3)),
        # The rate that was left, in bfloat16, which takes half the time.
        Cell(rate=1e-3, precision="bfloat16", short=True, run=make("1e-3", 1e-3, precision="bfloat16")),
    ],
    draw=draw,
    compare=compare,
    judge=judge,
)
