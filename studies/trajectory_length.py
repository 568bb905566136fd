"""Longer trajectories do not make it easier: final loss against the number of states T, on both tasks."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned, find_passings, unit_emergences
from saltus.paper.setting import PLATEAU_LEVEL, automaton, linear_map
from saltus.specs import RunSpec
from saltus.studies.comparison import Claim, Comparison, Verdict
from saltus.studies.panels import OURS, add_legend, draw_ours, draw_plateaus, label, open_plate
from saltus.studies.results import Results

MAP_STATES = (2, 4, 8)
AUTOMATON_STATES = (4, 8, 16, 32)

FALLEN = 1.2
"""Nats: with 32 states the statistics of a rule alone bring the loss to the level at which a plateau counts as over."""


def make(*, seeds: int, map_steps: int, automaton_steps: int) -> list[RunSpec]:
    """Both tasks. A linear map of T states has T / 2 times the tokens in a step, as the sequences are as many."""
    return [
        *(linear_map(f"map-t{t}", states=t, seeds=seeds, steps=map_steps) for t in MAP_STATES),
        *(automaton(f"automaton-t{t}", size=8, states=t, seeds=seeds, steps=automaton_steps) for t in AUTOMATON_STATES),
    ]


runs = make(seeds=3, map_steps=10_000, automaton_steps=3_000)
laptop = make(seeds=1, map_steps=1_500, automaton_steps=600)


def count_rows(results: Results) -> tuple[int, dict[int, list[int]]]:
    """The shortest budget of the maps that have been run, and by T the rows of each seed that came within it.

    Cells may be of different scales, and so of different budgets.
    """
    cells = {t: results[f"map-t{t}"] for t in MAP_STATES if f"map-t{t}" in results}
    budget = min((records.spec.training.steps for records in cells.values()), default=0)
    return budget, {
        t: [sum(row.by is not None and row.by <= budget for row in seed) for seed in unit_emergences(records)]
        for t, records in cells.items()
    }


def draw(results: Results) -> Figure:
    """Rows learned on the linear map; plateau length on the automaton."""
    figure, axes = open_plate(2)
    budget, came = count_rows(results)
    draw_ours(axes[0], MAP_STATES, [came.get(t, []) for t in MAP_STATES], "ours, dots: seeds", OURS[0])
    label(axes[0], "linear map, S=16, s=3", "states T", f"rows of 16 that came within {budget:,} steps")
    draw_plateaus(axes[1], {t: results.get(f"automaton-t{t}") for t in AUTOMATON_STATES}, PLATEAU_LEVEL, OURS[1])
    axes[1].margins(y=0.3)  # room for the legend above what is censored
    label(axes[1], "cellular automata, S=8", "states T", "plateau (steps); triangles: censored")
    for panel in axes:
        panel.set_xscale("log", base=2)
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Rows learned; the public replication that varied T gives shares of seeds with all rows: 1, .56, .12."""
    rows: list[Comparison] = []
    for name, records in results.items():
        if name.startswith("map"):
            ours = [float(n) for n in count_learned(records)]
            rows.append(Comparison(f"linear map, {name[4:]}: rows", None, ours, results.scale(name), digits=0))
        else:
            steps = [p.by for p in find_passings(records, PLATEAU_LEVEL)]
            rows.append(Comparison(f"automaton, {name[10:]}: plateau", None, steps, results.scale(name), digits=0))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """More states, fewer rows and a longer plateau."""
    return [*_judge_map(results), *_judge_automata(results)]


def _judge_map(results: Results) -> Sequence[Claim]:
    budget, came = count_rows(results)
    if len(came) < 2:
        return []
    rows = {t: float(np.mean(seeds)) for t, seeds in came.items()}
    harder = rows[min(rows)] > rows[max(rows)]
    whole = all(results.scale(f"map-t{t}") == "full" for t in came)
    return [
        Claim(
            "linear map: more worked examples make it harder",
            "reproduced" if harder and whole else "in part" if harder else "not reproduced",
            f"mean rows that came within {budget:,} steps: "
            + "; ".join(f"T={t} ({results.scale(f'map-t{t}')}): {n:.1f}" for t, n in rows.items()),
        )
    ]


def _judge_automata(results: Results) -> Sequence[Claim]:
    """Of the longest and the shortest trajectory; where neither has fallen nothing is known."""
    cells = {t: results[f"automaton-t{t}"] for t in AUTOMATON_STATES if f"automaton-t{t}" in results}
    if len(cells) < 2:
        return []
    losses = {t: records.cube("steps", "train_loss")[:, -1] for t, records in cells.items()}
    ends = {
        t: float(
            np.median(
                [
                    passing.by if passing.by is not None and loss < FALLEN else np.inf
                    for passing, loss in zip(find_passings(records, PLATEAU_LEVEL), losses[t], strict=True)
                ]
            )
        )
        for t, records in cells.items()
    }
    whole = all(results.scale(f"automaton-t{t}") == "full" for t in cells)
    told = "; ".join(
        f"T={t} ({results.scale(f'automaton-t{t}')}): {float(np.mean(losses[t])):.2f} nats "
        f"after {records.spec.training.steps:,} steps"
        for t, records in cells.items()
    )
    return [
        Claim(
            "cellular automata: longer trajectories lengthen the plateau, from the shortest to the longest",
            _judge_longer(ends[min(ends)], ends[max(ends)], whole=whole),
            f"a seed has left it where its loss ends below {FALLEN}; mean loss at the end: {told}",
        )
    ]


def _judge_longer(short: float, long: float, *, whole: bool) -> Verdict:
    """Of the steps at which the plateaus of the shortest and the longest trajectory end, infinite if censored."""
    if np.isinf([short, long]).all():
        return "not measured"
    return "not reproduced" if long <= short else "reproduced" if whole else "in part"
