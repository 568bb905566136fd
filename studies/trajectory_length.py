"""Longer trajectories do not make it easier: final loss against the number of states T, on both tasks."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned
from saltus.paper.claims import ON_EXAMPLES
from saltus.paper.setting import PLATEAU_LEVEL, automaton, linear_map
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison, Verdict
from saltus.studies.panels import OURS, add_legend, draw_ours, draw_plateaus, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

MAP, AUTOMATA = "linear map", "automaton"
STATES = {MAP: (2, 4, 8), AUTOMATA: (4, 8, 16, 32)}

FALLEN = 1.2
"""Nats: with 32 states the statistics of a rule alone bring the loss to the level at which a plateau counts as over."""


def make(*, seeds: int, map_steps: int, automaton_steps: int) -> list[Cell]:
    """Both tasks. A linear map of T states has T / 2 times the tokens in a step, as the sequences are as many."""
    runs = {
        MAP: [linear_map(f"map-t{t}", states=t, seeds=seeds, steps=map_steps) for t in STATES[MAP]],
        AUTOMATA: [
            automaton(f"automaton-t{t}", size=8, states=t, seeds=seeds, steps=automaton_steps) for t in STATES[AUTOMATA]
        ],
    }
    return [
        Cell(task=task, states=t, run=run) for task in runs for t, run in zip(STATES[task], runs[task], strict=True)
    ]


def find(results: Results, task: str) -> dict[int, Result]:
    """By T, the cells of a task that have been run."""
    return {int(t): result for t, result in results.where(task=task).by("states").items()}


def count_rows(results: Results) -> tuple[int, dict[int, list[int]]]:
    """The shortest budget of the maps that have been run, and by T the rows of each seed that came within it.

    Cells may be of different scales, and so of different budgets. What came later is not read: a row of a longer run
    could be confirmed by evaluations that the shorter ones do not have.
    """
    cells = find(results, MAP)
    budget = min((result.budget for result in cells.values()), default=0)
    return budget, {t: count_learned(result.read_units(until=budget)).tolist() for t, result in cells.items()}


def draw(results: Results) -> Figure:
    """Rows learned on the linear map; plateau length on the automaton."""
    figure, axes = open_panels(2)
    budget, came = count_rows(results)
    draw_ours(axes[0], STATES[MAP], [came.get(t, []) for t in STATES[MAP]], "ours, dots: seeds", OURS[0])
    label(axes[0], "linear map, S=16, s=3", "states T", f"rows of 16 that came within {budget:,} steps")
    cells = find(results, AUTOMATA)
    draw_plateaus(axes[1], {t: cells.get(t) for t in STATES[AUTOMATA]}, PLATEAU_LEVEL, OURS[1])
    axes[1].margins(y=0.3)  # room for the legend above what is censored
    label(axes[1], "cellular automata, S=8", "states T", "plateau (steps); triangles: censored")
    for panel in axes:
        panel.set_xscale("log", base=2)
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Rows learned; the public replication that varied T gives shares of seeds with all rows: 1, .56, .12."""
    rows: list[Comparison] = []
    for result in results:
        cell = f"{result['task']}, t{result['states']}"
        if result["task"] == MAP:
            learned = [float(n) for n in result.learned]
            note = f"beyond the level at the last evaluation: {', '.join(map(str, result.there_at_end))}"
            rows.append(Comparison(f"{cell}: rows", None, learned, result.scale, digits=0, note=note))
        else:
            steps = result.passings(PLATEAU_LEVEL)
            rows.append(Comparison(f"{cell}: plateau", None, steps, result.scale, digits=0))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """More states, fewer rows and a longer plateau."""
    return [*_judge_map(results), *_judge_automata(find(results, AUTOMATA))]


def _judge_map(results: Results) -> Sequence[Claim]:
    budget, came = count_rows(results)
    if len(came) < 2:
        return []
    rows = {t: float(np.mean(seeds)) for t, seeds in came.items()}
    scales = {t: result.scale for t, result in find(results, MAP).items()}
    harder = rows[min(rows)] > rows[max(rows)]
    whole = set(scales.values()) == {"full"}
    return [
        Claim(
            "linear map: more worked examples make it harder",
            "reproduced" if harder and whole else "in part" if harder else "not reproduced",
            f"mean rows that came within {budget:,} steps: "
            + "; ".join(f"T={t} ({scales[t]}): {n:.1f}" for t, n in rows.items()),
        )
    ]


def _judge_automata(cells: Mapping[int, Result]) -> Sequence[Claim]:
    """Compare the longest and the shortest trajectory; where neither loss has fallen nothing is known."""
    if len(cells) < 2:
        return []
    ends = {
        t: [
            step if step is not None and loss < FALLEN else np.inf
            for step, loss in zip(result.passings(PLATEAU_LEVEL), result.final_loss, strict=True)
        ]
        for t, result in cells.items()
    }
    short, long = (float(np.median(ends[t])) for t in (min(ends), max(ends)))
    told = "; ".join(
        f"T={t} ({result.scale}): {result.final_loss.mean():.2f} nats after {result.budget:,} steps"
        for t, result in cells.items()
    )
    return [
        Claim(
            "cellular automata: longer trajectories lengthen the plateau, from the shortest to the longest",
            _judge_longer(short, long, whole=all(result.scale == "full" for result in cells.values())),
            f"a seed has left it where its loss ends below {FALLEN}; mean loss at the end: {told}",
        )
    ]


def _judge_longer(short: float, long: float, *, whole: bool) -> Verdict:
    """From the steps at which the shortest and the longest trajectory leave the plateau, infinite if censored."""
    if np.isinf([short, long]).all():
        return "not measured"
    return "not reproduced" if long <= short else "reproduced" if whole else "in part"


study = Study(
    cells=make(seeds=3, map_steps=10_000, automaton_steps=3_000),
    laptop=make(seeds=1, map_steps=1_500, automaton_steps=600),
    draw=draw,
    compare=compare,
    judge=judge,
    about=ON_EXAMPLES,
)
