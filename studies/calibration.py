"""Which of the choices that the paper leaves open comes nearest to its numbers? Moved one at a time, in two rounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned, find_plateaus
from saltus.paper.setting import PAPER, Setting, automaton, linear_map
from saltus.paper.targets import read_targets
from saltus.records import RunRecords
from saltus.report.comparison import Claim, Comparison
from saltus.report.plates import OURS, THEIRS, add_legend, label, open_plate
from saltus.results import Results
from saltus.specs import BiasSpec, RunSpec

START = Setting()
"""As both replications have it."""
NEAR = replace(START, map_sequences=64, initialisation_scale=3.0)
"""Where the first round points to: a larger initialisation makes rows come sooner, a smaller batch one by one."""


def move(origin: Setting, prefix: str) -> dict[str, Setting]:
    """The settings one step away from another."""
    changes: dict[str, dict[str, Any]] = {
        "lr-3e-4": {"learning_rate": 3e-4},
        "lr-3e-3": {"learning_rate": 3e-3},
        "warmup-1000": {"warmup": 1000},
        "cosine": {"decay": "cosine"},
        "batch-quarter": {"map_sequences": origin.map_sequences // 4},
        "batch-double": {"map_sequences": 2 * origin.map_sequences},
        "beta2-095": {"betas": (0.9, 0.95)},
        "decay-01": {"weight_decay": 0.1},
        "init-half": {"initialisation_scale": origin.initialisation_scale / 2},
        "init-double": {"initialisation_scale": 2 * origin.initialisation_scale},
    }
    return {f"{prefix}{name}": replace(origin, **change) for name, change in changes.items()}


FIRST = {"start": START} | move(START, "")
SECOND = {"near": NEAR} | move(NEAR, "near-")
MOVES = FIRST | SECOND
PASSED = 0.35
RANKS = (0, 3, 7, 11, 15)
"""Rows, by the order in which they pass, whose steps are compared: the first and every fourth of 16."""

CURVE = (4, 8, 13)
"""s of the points of the sparsity curve at S=16 whose rows are compared."""

SIZES = (8, 16, 32)
"""S of the automata whose plateaus are compared."""

STRENGTHS = (10.0, 5.0, 2.5)
"""c of the bias on automata: it moves nothing else, so it is searched by itself, with the rest as in the preset."""

LEVEL = 1.3
"""The training loss, in nats, below which the plateau is over (the paper)."""


def make_jumps(names: Sequence[str], *, seeds: int, steps: int, maps: int = 1) -> list[RunSpec]:
    """For each move the jumps on the linear map, once with A fixed and `maps` - 1 times with another A."""
    return [
        linear_map(
            f"jumps-{name}" + (f"-map-{number}" if number else ""),
            setting=MOVES[name],
            steps=steps,
            seeds=seeds,
            master_seed=number,
            stop_when_solved=False,
        )
        for name in names
        for number in range(maps)
    ]


def make_curves(names: Sequence[str], *, seeds: int) -> list[RunSpec]:
    """For each move points of the sparsity curve, at the paper's number of steps."""
    return [
        linear_map(f"curve-{name}-s{s}", sparsity=s, setting=MOVES[name], seeds=seeds) for name in names for s in CURVE
    ]


def make_plateaus(names: Sequence[str], sizes: Sequence[int], *, seeds: int) -> list[RunSpec]:
    """For each move plateaus of cellular automata, watched for somewhat longer than the authors'."""
    lengths = read_targets("cellular_automata_plateau")["data"]["standard"]
    return [
        automaton(
            f"plateau-{name}-{size}",
            size=size,
            setting=MOVES[name],
            steps=round(1.6 * lengths[str(size)] / 20) * 20,
            seeds=seeds,
        )
        for name in names
        for size in sizes
    ]


def make_biased(sizes: Sequence[int], *, seeds: int) -> list[RunSpec]:
    """For each strength plateaus with the true pattern as a bias, watched for somewhat longer than the authors'."""
    lengths = read_targets("cellular_automata_plateau")["data"]["biased"]
    return [
        automaton(
            f"biased-c{strength:g}-{size}",
            size=size,
            steps=round(1.6 * lengths[str(size)] / 20) * 20,
            seeds=seeds,
            intervention=BiasSpec(strength=strength),
        )
        for strength in STRENGTHS
        for size in sizes
    ]


runs = [
    *make_jumps(list(MOVES), seeds=3, steps=5_000, maps=3),
    *make_curves(list(MOVES), seeds=3),
    *make_plateaus(list(MOVES), SIZES, seeds=3),
    *make_biased(SIZES, seeds=3),
]
laptop = [
    *make_jumps(
        ("start", "batch-quarter", "beta2-095", "init-double", "lr-3e-4", "lr-3e-3", "init-half"), seeds=1, steps=1_500
    ),
    *make_jumps(
        (
            "near",
            *(
                f"near-{name}"
                for name in ("init-half", "init-double", "batch-double", "lr-3e-4", "lr-3e-3", "beta2-095")
            ),
        ),
        seeds=2,
        steps=2_500,
    ),
    *make_plateaus(("start", "near"), (8,), seeds=1),
    *make_biased((8,), seeds=1),
]


def find_steps(records: RunRecords) -> list[list[float | None]]:
    """[seed][rank] the step at which so many rows have passed; None if not in the budget."""
    below = records.cube("units", "loss") < PASSED  # [seed, evaluation, row]
    found: list[list[float | None]] = []
    for seed in below:
        passed = sorted(float(records.evaluated_steps[row.argmax()]) for row in seed.T if row.any())
        found.append([passed[rank] if rank < len(passed) else None for rank in RANKS])
    return found


@dataclass(frozen=True)
class Term:
    """How far one seed is from one target."""

    kind: str
    """jumps, plateau or curve."""
    distance: float
    """Of a step |ln(ours / theirs)|; of a number of rows |ours - theirs| / 16, so that all are a factor of e."""
    censored: bool
    """Whether the step did not come; the budget stands for it then, and the distance is a lower bound."""


def list_terms(results: Results, move: str) -> list[Term]:
    """Every target of a move, seed by seed; where the budget ends before theirs, a censored step says nothing."""
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    lengths = read_targets("cellular_automata_plateau")["data"]["standard"]
    rows = read_targets("linear_map_sparsity")["data"]["S=16 rows learned by seed"]
    terms: list[Term] = []
    for name, records in results.items():
        budget = float(records.spec.training.steps)
        steps: list[tuple[float, float | None]] = []
        if name == f"jumps-{move}" or name.startswith(f"jumps-{move}-map"):
            steps = [(theirs[rank], seed[i]) for seed in find_steps(records) for i, rank in enumerate(RANKS)]
        elif name in (f"plateau-{move}-{size}" for size in SIZES):
            target = lengths[name.rpartition("-")[2]]
            steps = [(target, plateau.by) for plateau in find_plateaus(records, LEVEL)]
        elif name in (f"curve-{move}-s{s}" for s in CURVE):
            learned = float(np.mean(rows[name.rpartition("-s")[2]]))
            terms += [Term("curve", abs(float(n) - learned) / 16, censored=False) for n in count_learned(records)]
        terms += [
            Term(name.partition("-")[0], abs(log((step or budget) / target)), censored=step is None)
            for target, step in steps
            if step is not None or budget > target
        ]
    return terms


def list_distances(results: Results) -> tuple[list[str], dict[str, tuple[float, int]]]:
    """By move, nearest first, the mean distance and how many terms of it are censored; and the kinds that it is over.

    Those are the kinds that all of the moves have been run for, or they would not be comparable; all need the jumps.
    """
    every = {move: list_terms(results, move) for move in MOVES}
    kinds = [known for terms in every.values() if "jumps" in (known := {term.kind for term in terms})]
    shared = sorted(set[str].intersection(*kinds)) if kinds else []
    chosen = {
        move: [term for term in terms if term.kind in shared]
        for move, terms in every.items()
        if any(term.kind == "jumps" for term in terms)
    }
    found = {m: (float(np.mean([t.distance for t in ts])), sum(t.censored for t in ts)) for m, ts in chosen.items()}
    return shared, dict(sorted(found.items(), key=lambda item: item[1][0]))


def draw(results: Results) -> Figure:
    """Distance of each move; rows passed over steps for the start and the nearest, theirs in grey."""
    figure, axes = open_plate(2, height=4.6)
    kinds, distances = list_distances(results)
    axes[0].barh(list(distances), [value for value, _ in distances.values()], color=OURS[0])
    for place, (value, censored) in enumerate(distances.values()):
        axes[0].text(
            value, place, f" {value:.2f}" + (f", {censored} censored" if censored else ""), va="center", fontsize=7
        )
    axes[0].margins(x=0.35)
    axes[0].invert_yaxis()
    over = f"mean distance over {', '.join(kinds)}; a lower bound if censored"
    label(axes[0], "distance to the authors' numbers", over, "")
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    axes[1].step(theirs, range(1, 17), where="post", color=THEIRS, linewidth=2, label="authors, one seed (read off)")
    shown = [name for name in distances if f"jumps-{name}" in results]
    for place, move in enumerate([name for name in shown if name in ("start", *shown[:4])]):
        records = results[f"jumps-{move}"]
        for seed, rows in enumerate(records.cube("units", "loss") < PASSED):
            passed = sorted(float(records.evaluated_steps[row.argmax()]) for row in rows.T if row.any())
            end = [float(records.spec.training.steps)]
            axes[1].step(
                [0.0, *passed, *end],
                [*range(len(passed) + 1), len(passed)],
                where="post",
                color=OURS[place],
                linewidth=1,
                label="" if seed else move,
            )
    label(axes[1], f"rows with a loss below {PASSED}, each seed a line", "step", "rows of 16")
    add_legend(axes[1])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Each target of the search, for each move."""
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    lengths = read_targets("cellular_automata_plateau")["data"]
    learned = read_targets("linear_map_sparsity")["data"]["S=16 rows learned by seed"]
    rows: list[Comparison] = []
    for name, records in results.items():
        scale = results.scale(name)
        if name.startswith("jumps"):
            steps = find_steps(records)
            rows += [
                Comparison(f"{name}: row {rank + 1}", theirs[rank], [seed[i] for seed in steps], scale, digits=0)
                for i, rank in enumerate(RANKS)
            ]
        elif name.startswith(("plateau", "biased")):
            target = lengths["biased" if name.startswith("biased") else "standard"][name.rpartition("-")[2]]
            rows.append(Comparison(name, target, [p.by for p in find_plateaus(records, LEVEL)], scale, digits=0))
        else:
            target = float(np.mean(learned[name.rpartition("-s")[2]]))
            rows.append(
                Comparison(f"{name}: rows", target, [float(n) for n in count_learned(records)], scale, digits=1)
            )
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """The nearest setting, how sharp the optimum is, and whether it is the one that the studies use."""
    kinds, distances = list_distances(results)
    if len(distances) < 2:
        return []
    best, second = list(distances)[:2]
    used = next((move for move, setting in MOVES.items() if setting == PAPER), "none of these")
    near = distances.get(used, (9.0, 0))[0] < 1.5 * distances[best][0]
    untried = [move for move in MOVES if move not in distances]
    whole = "in part" if untried else "reproduced"
    verdict = whole if used == best else "in part" if near else "not reproduced"
    return [
        Claim(
            "the preset `PAPER` is the nearest of the settings of this search (ours, not a claim of the paper)",
            verdict if used in distances else "not measured",
            f"by {', '.join(kinds)}, nearest is {best} with {distances[best][0]:.2f} ({distances[best][1]} censored), "
            f"then {second} with "
            f"{distances[second][0]:.2f}; the preset is {used}"
            + (f" with {distances[used][0]:.2f}" if used in distances else "")
            + ". A distance of ln 2 = 0.69 is a factor of two"
            + (f". Not tried: {', '.join(untried)}" if untried else ""),
        ),
        *_judge_targets(results, used),
        *_judge_strength(results),
    ]


def _judge_targets(results: Results, used: str) -> Sequence[Claim]:
    """Which targets the preset meets within a factor of 1.5, by the mean of its seeds."""
    plateaus = tuple(f"plateau-{used}-{size}" for size in SIZES)
    rows = [
        row
        for row in compare(results)
        if row.cell.partition("-")[2].startswith((f"{used}:", f"{used}-map", f"{used}-s"))
        or row.cell.startswith(plateaus)
    ]
    known = {row.cell: row.middle / row.theirs for row in rows if row.middle and row.theirs}
    met = [cell for cell, ratio in known.items() if abs(log(ratio)) <= log(1.5)]
    if not rows:
        return []
    return [
        Claim(
            "with it every target of the search is met within a factor of 1.5 (ours)",
            "reproduced" if len(met) == len(rows) else "in part" if met else "not reproduced",
            "ours / theirs: "
            + "; ".join(f"{row.cell}: {f'{known[row.cell]:.2f}' if row.cell in known else 'censored'}" for row in rows),
        )
    ]


def _judge_strength(results: Results) -> Sequence[Claim]:
    """Which strength of the bias on automata is nearest, and whether the preset has it."""
    lengths = read_targets("cellular_automata_plateau")["data"]["biased"]
    distances: dict[float, float] = {}
    ended: set[float] = set()
    told: list[str] = []
    for strength in STRENGTHS:
        cells = {size: results[name] for size in SIZES if (name := f"biased-c{strength:g}-{size}") in results}
        plateaus = [(size, plateau) for size, cell in cells.items() for plateau in find_plateaus(cell, LEVEL)]
        if plateaus:
            # A censored one is at least as far as where it was last seen.
            distances[strength] = float(np.mean([abs(log((p.by or p.after) / lengths[str(s)])) for s, p in plateaus]))
            if all(p.by for _, p in plateaus):
                ended.add(strength)
            steps = ", ".join(f"{p.by}" if p.by else f"> {p.after}" for _, p in plateaus)
            told.append(f"c={strength:g}: {steps} ({distances[strength]:.2f})")
    if len(distances) < 2:
        return []
    nearest = min(distances, key=distances.__getitem__)
    whole = len(distances) == len(STRENGTHS) and all(f"biased-c{nearest:g}-{size}" in results for size in SIZES)
    if nearest not in ended:
        verdict = "not measured"
    elif nearest != PAPER.automaton_bias:
        verdict = "not reproduced"
    else:
        verdict = "reproduced" if whole else "in part"
    return [
        Claim(
            f"c={PAPER.automaton_bias:g} of the preset is the nearest strength of the bias on cellular automata (ours)",
            verdict,
            f"end of the plateau, and mean distance: {'; '.join(told)}; the authors: "
            + ", ".join(f"{lengths[str(size)]} at S={size}" for size in SIZES),
        )
    ]
