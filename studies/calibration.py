"""Which of the choices that the paper leaves open comes nearest to its numbers? One at a time is moved from a start."""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import find_plateaus
from saltus.paper.setting import PAPER, Setting, automaton, linear_map
from saltus.paper.targets import read_targets
from saltus.records import RunRecords
from saltus.report.comparison import Claim, Comparison
from saltus.report.plates import OURS, THEIRS, add_legend, label, open_plate
from saltus.results import Results
from saltus.specs import RunSpec

START = Setting()
MOVES: dict[str, Setting] = {
    "start": START,
    "lr-3e-4": replace(START, learning_rate=3e-4),
    "lr-3e-3": replace(START, learning_rate=3e-3),
    "warmup-1000": replace(START, warmup=1000),
    "cosine": replace(START, decay="cosine"),
    "batch-quarter": replace(START, batch_tokens=START.batch_tokens // 4),
    "batch-x4": replace(START, batch_tokens=4 * START.batch_tokens),
    "beta2-095": replace(START, betas=(0.9, 0.95)),
    "decay-01": replace(START, weight_decay=0.1),
    "init-half": replace(START, initialisation_scale=0.5),
    "init-double": replace(START, initialisation_scale=2.0),
}
PASSED = 0.35
RANKS = (0, 3, 7)
"""Rows, by the order in which they pass, whose steps are compared: the first, the fourth and the eighth of 16."""

CELLS = 8
"""S of the automaton."""


def make(moves: Sequence[str], *, seeds: int, maps: int, steps: int) -> list[RunSpec]:
    """For each move the jumps on the linear map, once with A fixed and `maps` - 1 times with another A; one plateau."""
    plateau = round(1.6 * read_targets("cellular_automata_plateau")["data"]["standard"][str(CELLS)] / 20) * 20
    cells: list[RunSpec] = []
    for move in moves:
        for number in range(maps):
            name = f"jumps-{move}" + (f"-map-{number}" if number else "")
            cells.append(
                linear_map(
                    name, setting=MOVES[move], steps=steps, seeds=seeds, master_seed=number, stop_when_solved=False
                )
            )
        cells.append(automaton(f"plateau-{move}", size=CELLS, setting=MOVES[move], steps=plateau, seeds=seeds))
    return cells


runs = make(list(MOVES), seeds=3, maps=3, steps=5_000)
laptop = make(
    ("start", "batch-quarter", "beta2-095", "init-double", "lr-3e-4", "lr-3e-3", "init-half"),
    seeds=1,
    maps=1,
    steps=1_500,
)


def find_steps(records: RunRecords) -> list[list[float | None]]:
    """[seed][rank] the step at which so many rows have passed; None if not in the budget."""
    below = records.cube("units", "loss") < PASSED  # [seed, evaluation, row]
    found: list[list[float | None]] = []
    for seed in below:
        passed = sorted(float(records.evaluated_steps[row.argmax()]) for row in seed.T if row.any())
        found.append([passed[rank] if rank < len(passed) else None for rank in RANKS])
    return found


def measure_distance(results: Results, move: str) -> tuple[float, int] | None:
    """Mean |ln(ours / theirs)| over the targets of a move and its seeds, and how many of them are censored.

    A censored step counts as the budget where that is later than theirs, which makes the distance a lower bound, and is
    left at 0 where the budget is sooner: it says nothing.
    """
    terms: list[float] = []
    censored = 0
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    pairs: list[tuple[float, float | None, float]] = []
    for name in results:
        budget = float(results[name].spec.training.steps)
        if name == f"jumps-{move}" or name.startswith(f"jumps-{move}-map"):
            steps = find_steps(results[name])
            pairs += [(theirs[rank], seed[i], budget) for seed in steps for i, rank in enumerate(RANKS)]
        elif name == f"plateau-{move}":
            target = read_targets("cellular_automata_plateau")["data"]["standard"][str(CELLS)]
            pairs += [(target, plateau.by, budget) for plateau in find_plateaus(results[name], 1.3)]
    for target, step, budget in pairs:
        censored += step is None
        terms.append(abs(log(step / target)) if step is not None else max(0.0, log(budget / target)))
    return (float(np.mean(terms)), censored) if terms else None


def list_distances(results: Results) -> dict[str, tuple[float, int]]:
    """By move, nearest first."""
    known = {move: found for move in MOVES if (found := measure_distance(results, move))}
    return dict(sorted(known.items(), key=lambda item: item[1][0]))


def draw(results: Results) -> Figure:
    """Distance of each move; rows passed over steps, theirs in grey."""
    figure, axes = open_plate(2, height=3.8)
    distances = list_distances(results)
    axes[0].barh(list(distances), [value for value, _ in distances.values()], color=OURS[0])
    for place, (value, censored) in enumerate(distances.values()):
        axes[0].text(
            value, place, f" {value:.2f}" + (f", {censored} censored" if censored else ""), va="center", fontsize=7
        )
    axes[0].margins(x=0.35)
    label(axes[0], "distance to the authors' numbers", "mean |ln(ours / theirs)|, a lower bound if censored", "")
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    axes[1].step(theirs, range(1, 17), where="post", color=THEIRS, linewidth=2, label="authors, one seed (read off)")
    for place, move in enumerate(move for move in MOVES if f"jumps-{move}" in results):
        records = results[f"jumps-{move}"]
        for seed, rows in enumerate(records.cube("units", "loss") < PASSED):
            passed = sorted(float(records.evaluated_steps[row.argmax()]) for row in rows.T if row.any())
            colour, dash = OURS[place % len(OURS)], "-" if place < len(OURS) else "--"
            end = [float(records.spec.training.steps)]
            axes[1].step(
                [0.0, *passed, *end],
                [*range(len(passed) + 1), len(passed)],
                where="post",
                color=colour,
                linestyle=dash,
                linewidth=1,
                label="" if seed else move,
            )
    label(axes[1], f"rows with a loss below {PASSED}, each seed a line", "step", "rows of 16")
    add_legend(axes[1])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Each target of the search, for each move."""
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    rows: list[Comparison] = []
    for name, records in results.items():
        scale = results.scale(name)
        if name.startswith("jumps"):
            steps = find_steps(records)
            rows += [
                Comparison(f"{name}: row {rank + 1}", theirs[rank], [seed[i] for seed in steps], scale, digits=0)
                for i, rank in enumerate(RANKS)
            ]
        else:
            target = read_targets("cellular_automata_plateau")["data"]["standard"][str(CELLS)]
            rows.append(Comparison(name, target, [p.by for p in find_plateaus(records, 1.3)], scale, digits=0))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """The nearest setting, how sharp the optimum is, and whether it is the one that the studies use."""
    distances = list_distances(results)
    if len(distances) < 2:
        return []
    best, second = list(distances)[:2]
    used = next((move for move, setting in MOVES.items() if setting == PAPER), "none of these")
    near = distances.get(used, (9.0, 0))[0] < 1.5 * distances[best][0]
    verdict = "reproduced" if used == best else "in part" if near else "not reproduced"
    untried = [move for move in MOVES if move not in distances]
    return [
        Claim(
            "the preset `PAPER` is the nearest of the settings of this search (ours, not a claim of the paper)",
            "not measured" if untried else verdict,
            f"nearest is {best} with {distances[best][0]:.2f} ({distances[best][1]} censored), then {second} with "
            f"{distances[second][0]:.2f}; the preset is {used}. A distance of ln 2 = 0.69 is a factor of two"
            + (f". Not tried yet: {', '.join(untried)}" if untried else ""),
        )
    ]
