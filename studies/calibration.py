"""Which of the choices that the paper leaves open comes nearest to its numbers? Moved one at a time, in two rounds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log, sqrt
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned, find_passings
from saltus.measure.transitions import WINDOW, EntropyChange, find_ranked_steps, measure_entropy_change
from saltus.paper.distance import (
    PASSED,
    RANKS,
    Stage,
    Term,
    average,
    compare_settings,
    list_falls,
    measure_jumps,
    measure_plateau,
    measure_rows,
)
from saltus.paper.setting import PAPER, PLATEAU_LEVEL, USUAL, Setting, jump_figure, linear_map, plateau
from saltus.paper.targets import read_targets
from saltus.specs import RunSpec
from saltus.studies.comparison import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_plate
from saltus.studies.results import Results


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
    "init-triple": replace(USUAL.automaton, initialisation_scale=3.0),  # what is near for the linear map
    "near": NEAR_AUTOMATON,
    **{name: setting for name, setting in move(NEAR_AUTOMATON, "near-").items() if setting != NEAR_AUTOMATON},
    "near-lr-1e-3": replace(NEAR_AUTOMATON, learning_rate=1e-3),
    "near-lr-1e-2": replace(NEAR_AUTOMATON, learning_rate=1e-2),
    "near-batch-quadruple": replace(NEAR_AUTOMATON, batch=4 * NEAR_AUTOMATON.batch),  # theirs has 8,192 tokens or more
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
        ("jumps", *(f"jumps-map-{number}" for number in range(1, MAPS)), "curve", "whole"),
        (MAPS + 1) * (len(RANKS) + 1) + len(CURVE),
    ),
    Search(
        "cellular automata",
        PAPER.automaton,
        AUTOMATON_MOVES,
        tuple(f"{kind}-{size}" for size in SIZES for kind in ("biased", "plateau")),
        len(PLATEAUS) * len(SIZES),
    ),
)


def make_jumps(names: Sequence[str], maps: Sequence[int], *, seeds: int, steps: int) -> list[RunSpec]:
    """For each move the jumps on the linear map, on each of the A of these numbers; 0 is that of all other studies."""
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
        for number in maps
    ]


def make_wholes(names: Sequence[str], *, seeds: int) -> list[RunSpec]:
    """For each move the jumps to the end of the paper's number of steps, with the attention on the way."""
    return [jump_figure(f"whole-{name}", setting=MAP_MOVES[name], seeds=seeds) for name in names]


def make_curves(names: Sequence[str], *, seeds: int) -> list[RunSpec]:
    """For each move points of the sparsity curve, at the paper's number of steps."""
    return [
        linear_map(f"curve-{name}-s{s}", sparsity=s, setting=MAP_MOVES[name], seeds=seeds)
        for name in names
        for s in CURVE
    ]


def make_plateaus(
    names: Sequence[str], sizes: Sequence[int], *, seeds: int, budget: float | None = None
) -> list[RunSpec]:
    """For each move plateaus of cellular automata, with and without bias; `budget` is in lengths of the authors'."""
    lengths = read_targets("cellular_automata_plateau")["data"]
    return [
        plateau(
            size,
            biased=kind == "biased",
            seeds=seeds,
            name=f"{kind}-{name}-{size}",
            setting=AUTOMATON_MOVES[name],
            steps=round(budget * lengths[theirs][str(size)] / 20) * 20 if budget else None,
        )
        for kind, theirs in PLATEAUS.items()
        for name in names
        for size in sizes
    ]


runs = [
    *make_jumps(list(MAP_MOVES), range(MAPS), seeds=3, steps=5_000),
    *make_curves(list(MAP_MOVES), seeds=3),
    *make_wholes(list(MAP_MOVES), seeds=3),
    *make_plateaus(list(AUTOMATON_MOVES), SIZES, seeds=3),
]
laptop = [
    *make_jumps(("start", *move(USUAL.linear_map)), (0,), seeds=1, steps=1_500),
    *make_jumps(("near", *move(NEAR, "near-")), range(MAPS), seeds=2, steps=2_500),
    *make_plateaus(list(AUTOMATON_MOVES), (8,), seeds=1, budget=1.6),
]


def find_kind(name: str) -> str:
    """Of a run's name: curve, jumps with the number of the map unless it is the first, plateau or biased with S."""
    kind = name.partition("-")[0]
    number = re.search(r"-\d+$" if kind in PLATEAUS else r"-map-\d+$", name)
    return kind + (number[0] if number else "")


def list_terms(results: Results, search: Search, move: str) -> list[Term]:
    """Every target of a move, seed by seed."""
    terms: list[Term] = []
    for name, records in results.items():
        kind = find_kind(name)
        if kind not in search.kinds or not _is_of(name, move):
            continue
        of, last = name.partition("-")[0], name.rpartition("-")[2]
        if of == "curve":
            terms += measure_rows(records, kind, last.removeprefix("s"))
        elif of in PLATEAUS:
            terms += measure_plateau(records, kind, last, biased=of == "biased")
        else:
            terms += measure_jumps(records, kind)
    return terms


def _is_of(name: str, move: str) -> bool:
    """Whether a run is of a move: what stands behind that in the name is the number of a map, s or S."""
    rest = name.partition("-")[2].removeprefix(move)
    return rest != name.partition("-")[2] and re.fullmatch(r"(-map-\d+|-s\d+|-\d+)?", rest) is not None


def find_entropy_changes(results: Results, search: Search) -> dict[str, EntropyChange]:
    """By move, what the entropy of heads does at jumps, for those that have been run to the end."""
    wholes = {name: f"whole-{name}" for name in search.moves if "whole" in search.kinds}
    return {name: measure_entropy_change(results[run]) for name, run in wholes.items() if run in results}


def list_stages(results: Results, search: Search) -> list[Stage]:
    """All moves by the kinds that all have been run for; then those that have been run for every kind, by all of them.

    A move that has kinds that another has not could not be compared with it. Where heads do not sharpen as rows jump,
    a move is left out of the second stage, however near its steps are: that they do is what the authors' figure shows.
    """
    every = {name: terms for name in search.moves if (terms := list_terms(results, search, name))}
    tried = {name: terms for name, terms in every.items() if any(term.kind == search.kinds[0] for term in terms)}
    shared = [kind for kind in search.kinds if all(any(t.kind == kind for t in terms) for terms in tried.values())]
    whole = {name: terms for name, terms in tried.items() if {term.kind for term in terms} == set(search.kinds)}
    for name, change in find_entropy_changes(results, search).items():
        if not change.falls:
            whole.pop(name, None)
    stages = [compare_settings(tried, shared)]
    if len(whole) > 1 and len(shared) < len(search.kinds):
        stages.append(compare_settings(whole, search.kinds))
    return stages


def draw(results: Results) -> Figure:
    """Distance of each move, task by task; rows passed over steps for the start and the nearest, theirs in grey."""
    figure, axes = open_plate(3, height=4.6)
    for panel, search in zip(axes, SEARCHES, strict=False):
        first, *last = list_stages(results, search)
        changes = find_entropy_changes(results, search)
        panel.barh(list(first.distances), list(first.distances.values()), color=OURS[0])
        across = f"mean distance by {', '.join(first.kinds)} (bars)"
        for final in last:
            places = [list(first.distances).index(name) for name in final.distances]
            panel.plot(list(final.distances.values()), places, "D", color=OURS[1], markersize=5)
            across += "\n" + fill(f"by {', '.join(final.kinds)} (diamonds)", 60)
        for place, (name, value) in enumerate(first.distances.items()):
            values = [value, *(final.distances[name] for final in last if name in final.distances)]
            text = " / ".join(f"{each:.2f}" for each in values)
            text += f", {first.censored[name]} censored" if first.censored[name] else ""
            text += ", left out" if name in changes and not changes[name].falls else ""
            panel.annotate(text, (max(values), place), (6, 0), textcoords="offset points", va="center", fontsize=7)
        panel.margins(x=0.35)
        panel.invert_yaxis()
        across += "\na lower bound if censored" + ("; left out: no head sharpens at a jump" if changes else "")
        label(panel, f"{search.task}: distance to the authors' numbers", across, "")
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    axes[2].step(theirs, range(1, 17), where="post", color=THEIRS, linewidth=2, label="authors, one seed (read off)")
    for place, name in enumerate(list(list_stages(results, SEARCHES[0])[-1].distances)[: len(OURS)]):
        records = results[f"whole-{name}" if f"whole-{name}" in results else f"jumps-{name}"]
        end = [float(records.spec.training.steps)]
        for seed, ranked in enumerate(find_ranked_steps(records, PASSED)):
            passed = [step for step in ranked if step is not None]
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
    low, high = read_targets("linear_map_jumps")["data"]["duration of one row's fall"]
    rows: list[Comparison] = []
    for name, records in results.items():
        scale, kind, last = results.scale(name), name.partition("-")[0], name.rpartition("-")[2]
        if kind in ("jumps", "whole"):
            steps = find_ranked_steps(records, PASSED)
            rows += [
                Comparison(f"{name}: row {rank + 1}", theirs[rank], [seed[rank] for seed in steps], scale, digits=0)
                for rank in RANKS
            ]
            rows.append(Comparison(f"{name}: a row's fall", sqrt(low * high), list_falls(records), scale, digits=0))
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
        for claim in (
            *_judge_preset(results, search),
            *_judge_targets(results, search),
            *_judge_maps(results, search),
            *_judge_mechanism(results, search),
        )
    ]


def _name_preset(search: Search) -> str:
    return next((name for name, setting in search.moves.items() if setting == search.preset), "none of these")


def _judge_preset(results: Results, search: Search) -> Sequence[Claim]:
    stages = list_stages(results, search)
    distances = stages[-1].distances
    if len(distances) < 2:
        return []
    best, used = next(iter(distances)), _name_preset(search)
    untried = [name for name in search.moves if name not in stages[0].distances]
    changes = find_entropy_changes(results, search)
    nearest = next((name for name in stages[0].distances if name not in changes or changes[name].falls), None)
    whole = "in part" if untried or nearest not in distances else "reproduced"
    near = distances.get(used, inf) < 1.5 * distances[best]
    return [
        Claim(
            f"{search.task}: the preset is the nearest of the settings of this search (ours, not a claim of the paper)",
            (
                "not measured"
                if used not in distances
                else whole
                if used == best
                else "in part"
                if near
                else "not reproduced"
            ),
            "; ".join(_describe_stage(each, used) for each in stages)
            + ". A distance of ln 2 = 0.69 is a factor of two"
            + (f". Not tried: {', '.join(untried)}" if untried else ""),
        )
    ]


def _describe_stage(each: Stage, used: str) -> str:
    """The nearest settings and the preset, so that one sees how sharp the optimum is."""
    named = [*list(each.distances)[:3], *([used] if used in list(each.distances)[3:] else [])]
    return f"by {', '.join(each.kinds)}, of {len(each.distances)} settings: " + ", ".join(
        f"{name}{' (the preset)' if name == used else ''} {each.distances[name]:.2f}"
        + (f" ({each.censored[name]} censored)" if each.censored[name] else "")
        for name in named
    )


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
    by_map = {kind: average([t for t in terms if t.kind == kind]) for kind in dict.fromkeys(t.kind for t in terms)}
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


def _judge_mechanism(results: Results, search: Search) -> Sequence[Claim]:
    """Whether the preset's jumps are the authors' in kind as well: attention sharpens as a row is found."""
    changes, used = find_entropy_changes(results, search), _name_preset(search)
    if used not in changes:
        return []
    return [
        Claim(
            f"{search.task}: with the preset heads sharpen where rows jump; settings where none does are left out",
            "reproduced" if changes[used].falls else "not reproduced",
            f"change of entropy, in nats over {WINDOW} steps around a jump: "
            + "; ".join(
                f"{name} {change.around:+.2f}{'' if change.falls else ' (left out)'}"
                for name, change in changes.items()
            ),
        )
    ]
