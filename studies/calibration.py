"""Which of the choices that the paper leaves open comes nearest to its numbers? Moved one at a time, in two rounds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned, find_passings
from saltus.paper.setting import PAPER, PLATEAU_LEVEL, USUAL, Setting, automaton, linear_map
from saltus.paper.targets import read_targets
from saltus.records import RunRecords
from saltus.report.comparison import Claim, Comparison
from saltus.report.plates import OURS, THEIRS, add_legend, label, open_plate
from saltus.results import Results
from saltus.specs import BiasSpec, RunSpec


def move(origin: Setting, prefix: str = "") -> dict[str, Setting]:
    """The settings one step away from another."""
    changes: dict[str, dict[str, Any]] = {
        "lr-3e-4": {"learning_rate": 3e-4},
        "lr-3e-3": {"learning_rate": 3e-3},
        "warmup-0": {"warmup": 0},
        "warmup-1000": {"warmup": 1000},
        "cosine": {"decay": "cosine"},
        "batch-quarter": {"batch": origin.batch // 4},
        "batch-double": {"batch": 2 * origin.batch},
        "beta2-095": {"betas": (0.9, 0.95)},
        "decay-01": {"weight_decay": 0.1},
        "init-half": {"initialisation_scale": origin.initialisation_scale / 2},
        "init-double": {"initialisation_scale": 2 * origin.initialisation_scale},
    }
    return {f"{prefix}{name}": replace(origin, **change) for name, change in changes.items()}


NEAR = replace(USUAL.linear_map, batch=64, initialisation_scale=3.0)
"""Where the first round points to: a larger initialisation makes rows come sooner, a smaller batch one by one."""

NEAR_AUTOMATON = replace(USUAL.automaton, learning_rate=3e-3, bias=4.0)
"""With a stronger bias heads see the true keys alone, and the rule, which must be read off earlier states, is lost."""

MAP_MOVES = {"start": USUAL.linear_map} | move(USUAL.linear_map) | {"near": NEAR} | move(NEAR, "near-")
AUTOMATON_MOVES = {
    "start": USUAL.automaton,
    **move(USUAL.automaton),
    "init-triple": replace(USUAL.automaton, initialisation_scale=3.0),  # what is near for the linear map
    "near": NEAR_AUTOMATON,
    "near-lr-1e-3": replace(NEAR_AUTOMATON, learning_rate=1e-3),
    "near-batch-sixteenfold": replace(NEAR_AUTOMATON, batch=16 * NEAR_AUTOMATON.batch),
    **{f"near-bias-{c:g}": replace(NEAR_AUTOMATON, bias=c) for c in (2.0, 3.0, 5.0, 10.0)},
}


@dataclass(frozen=True)
class Search:
    """The settings that were tried for one of the paper's tasks, and what its runs are called."""

    task: str
    preset: Setting
    moves: dict[str, Setting]
    kinds: tuple[str, ...]
    """What its runs are of, see `find_kind`; a move that has none of the first kind has not been tried."""
    targets: int
    """How many of the authors' numbers a move is compared with where all of its cells have been run."""


PASSED = 0.35
RANKS = (0, 3, 7, 11, 15)
"""Rows, by the order in which they pass, whose steps are compared: the first and every fourth of 16."""

CURVE = (4, 8, 13)
"""s of the points of the sparsity curve at S=16 whose rows are compared."""

SIZES = (8, 16, 32)
"""S of the automata whose plateaus are compared."""

MAPS = 3
"""How many A the jumps are compared on; each is a kind of its own, as one A may be much easier than another."""

PLATEAUS = {"plateau": "standard", "biased": "biased"}
"""Without and with the true pattern as a bias, and what the authors' numbers call it."""

SEARCHES = (
    Search(
        "linear map",
        PAPER.linear_map,
        MAP_MOVES,
        ("jumps", *(f"jumps-map-{number}" for number in range(1, MAPS)), "curve"),
        MAPS * len(RANKS) + len(CURVE),
    ),
    Search("cellular automata", PAPER.automaton, AUTOMATON_MOVES, ("biased", "plateau"), len(PLATEAUS) * len(SIZES)),
)


def make_jumps(names: Sequence[str], *, seeds: int, steps: int, maps: int = 1) -> list[RunSpec]:
    """For each move the jumps on the linear map, once with A fixed and `maps` - 1 times with another A."""
    return [
        linear_map(
            f"jumps-{name}" + (f"-map-{number}" if number else ""),
            setting=MAP_MOVES[name],
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
        linear_map(f"curve-{name}-s{s}", sparsity=s, setting=MAP_MOVES[name], seeds=seeds)
        for name in names
        for s in CURVE
    ]


def make_plateaus(names: Sequence[str], sizes: Sequence[int], *, seeds: int) -> list[RunSpec]:
    """For each move plateaus of cellular automata, with and without bias, watched for longer than the authors'."""
    lengths = read_targets("cellular_automata_plateau")["data"]
    return [
        automaton(
            f"{kind}-{name}-{size}",
            size=size,
            setting=AUTOMATON_MOVES[name],
            steps=round(1.6 * lengths[theirs][str(size)] / 20) * 20,
            seeds=seeds,
            intervention=BiasSpec(strength=AUTOMATON_MOVES[name].bias) if kind == "biased" else None,
        )
        for kind, theirs in PLATEAUS.items()
        for name in names
        for size in sizes
    ]


runs = [
    *make_jumps(list(MAP_MOVES), seeds=3, steps=5_000, maps=MAPS),
    *make_curves(list(MAP_MOVES), seeds=3),
    *make_plateaus(list(AUTOMATON_MOVES), SIZES, seeds=3),
]
laptop = [
    *make_jumps(("start", *move(USUAL.linear_map)), seeds=1, steps=1_500),
    *make_jumps(("near", *move(NEAR, "near-")), seeds=2, steps=2_500),
    *make_jumps(("near",), seeds=2, steps=2_500, maps=MAPS)[1:],
    *make_plateaus(
        ("start", "init-triple", "near", "near-lr-1e-3", *(f"near-bias-{c}" for c in (2, 3, 5, 10))), (8,), seeds=1
    ),
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
    """See `find_kind`."""
    distance: float
    """Of a step |ln(ours / theirs)|; of a number of rows |ours - theirs| / 16, so that all are a factor of e."""
    censored: bool
    """Whether the step did not come; the budget stands for it then, and the distance is a lower bound."""


def find_kind(name: str) -> str:
    """Of a run's name: jumps, with the number of the map unless it is the first, curve, plateau or biased."""
    number = re.search(r"-map-\d+$", name)
    return name.partition("-")[0] + (number[0] if number else "")


def list_terms(results: Results, search: Search, move: str) -> list[Term]:
    """Every target of a move, seed by seed; where the budget ends before theirs, a censored step says nothing."""
    jumps = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    lengths = read_targets("cellular_automata_plateau")["data"]
    rows = read_targets("linear_map_sparsity")["data"]["S=16 rows learned by seed"]
    terms: list[Term] = []
    for name, records in results.items():
        kind = find_kind(name)
        if kind not in search.kinds or not _is_of(name, move):
            continue
        last = name.rpartition("-")[2]
        budget = float(records.spec.training.steps)
        if kind == "curve":
            learned = float(np.mean(rows[last.removeprefix("s")]))
            terms += [Term(kind, abs(float(n) - learned) / 16, censored=False) for n in count_learned(records)]
            continue
        steps: list[tuple[float, float | None]] = (
            [(jumps[rank], seed[i]) for seed in find_steps(records) for i, rank in enumerate(RANKS)]
            if kind.startswith("jumps")
            else [(lengths[PLATEAUS[kind]][last], end.by) for end in find_passings(records, PLATEAU_LEVEL)]
        )
        terms += [
            Term(kind, abs(log((step or budget) / target)), censored=step is None)
            for target, step in steps
            if step is not None or budget > target
        ]
    return terms


def _is_of(name: str, move: str) -> bool:
    """Whether a run is of a move: what stands behind that in the name is the number of a map, s or S."""
    rest = name.partition("-")[2].removeprefix(move)
    return rest != name.partition("-")[2] and re.fullmatch(r"(-map-\d+|-s\d+|-\d+)?", rest) is not None


def list_distances(results: Results, search: Search) -> tuple[list[str], dict[str, tuple[float, int]]]:
    """By move, nearest first, the mean distance and how many terms of it are censored; and the kinds that it is over.

    Those are the kinds that all of the moves have been run for, or they would not be comparable.
    """
    every = {name: terms for name in search.moves if (terms := list_terms(results, search, name))}
    tried = {name: terms for name, terms in every.items() if any(term.kind == search.kinds[0] for term in terms)}
    shared = [kind for kind in search.kinds if all(any(t.kind == kind for t in terms) for terms in tried.values())]
    chosen = {name: [term for term in terms if term.kind in shared] for name, terms in tried.items()}
    found = {m: (float(np.mean([t.distance for t in ts])), sum(t.censored for t in ts)) for m, ts in chosen.items()}
    return shared, dict(sorted(found.items(), key=lambda item: item[1][0]))


def draw(results: Results) -> Figure:
    """Distance of each move, task by task; rows passed over steps for the start and the nearest, theirs in grey."""
    figure, axes = open_plate(3, height=4.6)
    for panel, search in zip(axes, SEARCHES, strict=False):
        kinds, distances = list_distances(results, search)
        panel.barh(list(distances), [value for value, _ in distances.values()], color=OURS[0])
        for place, (value, censored) in enumerate(distances.values()):
            text = f" {value:.2f}" + (f", {censored} censored" if censored else "")
            panel.text(value, place, text, va="center", fontsize=7)
        panel.margins(x=0.35)
        panel.invert_yaxis()
        over = f"mean distance over {', '.join(kinds)}; a lower bound if censored"
        label(panel, f"{search.task}: distance to the authors' numbers", over, "")
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    axes[2].step(theirs, range(1, 17), where="post", color=THEIRS, linewidth=2, label="authors, one seed (read off)")
    shown = [name for name in list_distances(results, SEARCHES[0])[1] if f"jumps-{name}" in results]
    for place, name in enumerate([name for name in shown if name in ("start", *shown[:4])]):
        records = results[f"jumps-{name}"]
        for seed, rows in enumerate(records.cube("units", "loss") < PASSED):
            passed = sorted(float(records.evaluated_steps[row.argmax()]) for row in rows.T if row.any())
            end = [float(records.spec.training.steps)]
            axes[2].step(
                [0.0, *passed, *end],
                [*range(len(passed) + 1), len(passed)],
                where="post",
                color=OURS[place],
                linewidth=1,
                label="" if seed else name,
            )
    label(axes[2], f"rows with a loss below {PASSED}, each seed a line", "step", "rows of 16")
    add_legend(axes[2])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Each target of the search, for each move."""
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    lengths = read_targets("cellular_automata_plateau")["data"]
    learned = read_targets("linear_map_sparsity")["data"]["S=16 rows learned by seed"]
    rows: list[Comparison] = []
    for name, records in results.items():
        scale, kind, last = results.scale(name), name.partition("-")[0], name.rpartition("-")[2]
        if kind == "jumps":
            steps = find_steps(records)
            rows += [
                Comparison(f"{name}: row {rank + 1}", theirs[rank], [seed[i] for seed in steps], scale, digits=0)
                for i, rank in enumerate(RANKS)
            ]
        elif kind == "curve":
            target = float(np.mean(learned[last.removeprefix("s")]))
            ours = [float(n) for n in count_learned(records)]
            rows.append(Comparison(f"{name}: rows", target, ours, scale, digits=1))
        else:
            ends = [end.by for end in find_passings(records, PLATEAU_LEVEL)]
            rows.append(Comparison(name, lengths[PLATEAUS[kind]][last], ends, scale, digits=0))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """For each task the nearest setting, how sharp the optimum is, and whether it is the one that the studies use."""
    return [
        claim
        for search in SEARCHES
        for claim in (*_judge_preset(results, search), *_judge_targets(results, search), *_judge_maps(results, search))
    ]


def _name_preset(search: Search) -> str:
    return next((name for name, setting in search.moves.items() if setting == search.preset), "none of these")


def _judge_preset(results: Results, search: Search) -> Sequence[Claim]:
    kinds, distances = list_distances(results, search)
    if len(distances) < 2:
        return []
    best, second = list(distances)[:2]
    used = _name_preset(search)
    near = distances.get(used, (9.0, 0))[0] < 1.5 * distances[best][0]
    untried = [name for name in search.moves if name not in distances]
    whole = "in part" if untried else "reproduced"
    verdict = whole if used == best else "in part" if near else "not reproduced"
    return [
        Claim(
            f"{search.task}: the preset is the nearest of the settings of this search (ours, not a claim of the paper)",
            verdict if used in distances else "not measured",
            f"by {', '.join(kinds)}, nearest is {best} with {distances[best][0]:.2f} ({distances[best][1]} censored), "
            f"then {second} with "
            f"{distances[second][0]:.2f}; the preset is {used}"
            + (f" with {distances[used][0]:.2f}" if used in distances else "")
            + ". A distance of ln 2 = 0.69 is a factor of two"
            + (f". Not tried: {', '.join(untried)}" if untried else ""),
        )
    ]


def _judge_targets(results: Results, search: Search) -> Sequence[Claim]:
    """Which targets the preset meets within a factor of 1.5, by the mean of its seeds."""
    used = _name_preset(search)
    rows = [
        row
        for row in compare(results)
        if find_kind(cell := row.cell.partition(":")[0]) in search.kinds and _is_of(cell, used)
    ]
    known = {row.cell: row.middle / row.theirs for row in rows if row.middle and row.theirs}
    met = [cell for cell, ratio in known.items() if abs(log(ratio)) <= log(1.5)]
    if not rows:
        return []
    return [
        Claim(
            f"{search.task}: with it every target of the search is met within a factor of 1.5 (ours)",
            "reproduced" if len(met) == len(rows) >= search.targets else "in part" if met else "not reproduced",
            f"{len(rows)} of {search.targets} targets measured; ours / theirs: "
            + "; ".join(f"{row.cell}: {f'{known[row.cell]:.2f}' if row.cell in known else 'censored'}" for row in rows),
        )
    ]


def _judge_maps(results: Results, search: Search) -> Sequence[Claim]:
    """Whether the preset is as near on another A: if not, its distance on one A says little."""
    terms = [t for t in list_terms(results, search, _name_preset(search)) if t.kind.startswith("jumps")]
    by_map = {
        kind: float(np.mean([t.distance for t in terms if t.kind == kind]))
        for kind in dict.fromkeys(t.kind for t in terms)
    }
    if len(by_map) < 2:
        return []
    return [
        Claim(
            f"{search.task}: the preset is as near on every A, within a factor of 1.5 of the distance (ours)",
            "reproduced" if max(by_map.values()) <= 1.5 * min(by_map.values()) else "not reproduced",
            "mean distance, each over the rows that came or were due within the budget: "
            + "; ".join(f"{k}: {v:.2f}" for k, v in by_map.items()),
        )
    ]
