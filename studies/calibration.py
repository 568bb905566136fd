"""Which of the choices that the paper leaves open comes nearest to its numbers? Moved one at a time, in two rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from textwrap import fill
from typing import Any

from matplotlib.figure import Figure

from loss_jumps import draw_passed, draw_their_jumps
from saltus.measure.transitions import WINDOW, EntropyChange
from saltus.paper.distance import (
    RANKS,
    Round,
    Target,
    average,
    measure_jumps,
    measure_plateau,
    measure_rows,
    measure_sharpening,
    rank_rows,
    rank_settings,
)
from saltus.paper.setting import (
    FITTED_SIZES,
    FITTED_SPARSITIES,
    PAPER,
    USUAL,
    Setting,
    jump_figure,
    linear_map,
    plateau,
)
from saltus.paper.targets import read_plateaus
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison, Verdict
from saltus.studies.panels import OURS, add_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study


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

JUMPS = ("jumps", "jumps-map-1", "jumps-map-2")
"""The jumps on each A. Each is a kind of its own, as one A may be much easier than another. All other studies have the
first A."""

PLATEAUS = {(s, biased): f"{'biased' if biased else 'plateau'}-{s}" for s in FITTED_SIZES for biased in (True, False)}
"""By S, and whether there is a bias."""


@dataclass(frozen=True)
class Search:
    """The settings that were tried for one of the paper's tasks."""

    task: str
    preset: Setting
    moves: Mapping[str, Setting]
    kinds: tuple[str, ...]
    """Kinds of cells; a move without a cell of the first kind has not been tried."""
    targets: int
    """Number of the authors' numbers that a move has counterparts of, where all its cells have been run."""

    @property
    def used(self) -> str:
        """The move that the preset is."""
        return next((name for name, setting in self.moves.items() if setting == self.preset), "none of these")


MAP = Search(
    "linear map",
    PAPER.linear_map,
    MAP_MOVES,
    (*JUMPS, "curve", "whole"),
    (len(JUMPS) + 1) * (len(RANKS) + 1) + len(FITTED_SPARSITIES),
)
AUTOMATA = Search("cellular automata", PAPER.automaton, AUTOMATON_MOVES, tuple(PLATEAUS.values()), len(PLATEAUS))


def make_jumps(name: str, number: int, *, seeds: int, steps: int = 5_000) -> Cell:
    """The jumps of a move on the linear map, on the A of a number."""
    run = linear_map(
        f"jumps-{name}" + (f"-map-{number}" if number else ""),
        setting=MAP_MOVES[name],
        steps=steps,
        seeds=seeds,
        master_seed=number,
        stop_when_solved=False,
    )
    return Cell(task=MAP.task, move=name, kind=JUMPS[number], map=number, run=run)


def make_point(name: str, s: int) -> Cell:
    """A point of the sparsity curve of a move, at the paper's number of steps."""
    run = linear_map(f"curve-{name}-s{s}", sparsity=s, setting=MAP_MOVES[name])
    return Cell(task=MAP.task, move=name, kind="curve", sparsity=s, run=run)


def make_whole(name: str) -> Cell:
    """The jumps of a move to the end of the paper's number of steps, with the attention on the way."""
    run = jump_figure(f"whole-{name}", setting=MAP_MOVES[name], seeds=3)
    return Cell(task=MAP.task, move=name, kind="whole", patterns=True, run=run)


def make_plateau(name: str, size: int, *, biased: bool, seeds: int, budget: float | None = None) -> Cell:
    """The plateau of a move on cellular automata; `budget` is in lengths of the authors'."""
    run = plateau(
        f"{'biased' if biased else 'plateau'}-{name}-{size}",
        size=size,
        biased=biased,
        seeds=seeds,
        setting=AUTOMATON_MOVES[name],
        steps=round(budget * read_plateaus(biased=biased)[size] / 20) * 20 if budget else None,
    )
    return Cell(
        task=AUTOMATA.task, move=name, kind=PLATEAUS[size, biased], size=size, biased=biased, short=True, run=run
    )


def measure(result: Result) -> list[Target]:
    """The authors' numbers beside the counterparts in a cell."""
    kind, key = str(result["kind"]), result.cell.key
    if "sparsity" in key:
        return measure_rows(result, kind, int(key["sparsity"]))
    if "size" in key:
        return measure_plateau(result, kind, int(key["size"]), biased=bool(key["biased"]))
    return measure_jumps(result, kind)


def find_entropy_changes(results: Results, search: Search) -> dict[str, EntropyChange]:
    """By move, what the entropy of heads does at jumps, for the moves whose `whole` cell has been run."""
    wholes = results.where(task=search.task, kind="whole").by("move")
    return {str(name): measure_sharpening(result) for name, result in wholes.items()}


def list_rounds(results: Results, search: Search) -> list[Round]:
    """The moves of a search, ranked.

    Where heads do not sharpen as rows jump, a move is left out of the second round, however near its steps are: that
    they do is what the authors' figure shows.
    """
    moves = {name: [t for r in results.where(task=search.task, move=name) for t in measure(r)] for name in search.moves}
    changes = find_entropy_changes(results, search)
    return rank_settings(moves, search.kinds, left_out=[name for name in changes if not changes[name].falls])


def draw(results: Results) -> Figure:
    """Distance of each move, task by task; rows passed over steps for the start and the nearest, theirs in grey."""
    figure, axes = open_panels(3, height=4.6)
    for panel, search in zip(axes, (MAP, AUTOMATA), strict=False):
        first, *last = list_rounds(results, search)
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
    draw_their_jumps(axes[2])
    for name, colour in zip(list_rounds(results, MAP)[-1].distances, OURS, strict=False):
        cells = results.where(task=MAP.task, move=name)
        if result := cells.get(kind="whole") or cells.get(kind="jumps"):
            for seed, ranked in enumerate(rank_rows(result)):
                draw_passed(axes[2], ranked, result, colour, "" if seed else name)
    add_legend(axes[2])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Each target of the search, for each move."""
    return [
        Comparison(
            ": ".join(filter(None, (result.name, target.name))),
            target.theirs,
            target.ours,
            result.scale,
            digits=1 if target.kind == "curve" else 0,
            fitted=True,
        )
        for result in results
        for target in measure(result)
    ]


def judge(results: Results) -> Sequence[Claim]:
    """For each task the nearest setting, how sharp the optimum is, and whether it is the one that the studies use."""
    return [
        claim
        for search in (MAP, AUTOMATA)
        for claim in (
            *_judge_preset(results, search),
            *_judge_targets(results, search),
            *_judge_maps(results, search),
            *_judge_mechanism(results, search),
        )
    ]


def _judge_preset(results: Results, search: Search) -> Sequence[Claim]:
    rounds, used = list_rounds(results, search), search.used
    if len(rounds[-1].distances) < 2:
        return []
    untried = [name for name in search.moves if name not in rounds[0].distances]
    return [
        Claim(
            f"{search.task}: the preset, which was chosen, is the nearest of the settings of this search",
            _judge_nearest(rounds, used),
            "; ".join(_describe_round(each, used) for each in rounds)
            + ". A distance of ln 2 = 0.69 is a factor of two; where a step did not come the distance is a lower bound"
            + (f". Not tried: {', '.join(untried)}" if untried else ""),
            ours=True,
        )
    ]


def _judge_nearest(rounds: Sequence[Round], used: str) -> Verdict:
    """Nearest in every round, in some, or in none; a round that leaves it open decides nothing."""
    known = [nearest for each in rounds if used in each.distances and (nearest := each.nearest(used)) is not None]
    if not known:
        return "not measured"
    return "reproduced" if all(known) and len(known) == len(rounds) else "in part" if any(known) else "not reproduced"


def _describe_round(each: Round, used: str) -> str:
    """The nearest settings and the preset, so that one sees how sharp the optimum is."""
    named = [*list(each.distances)[:3], *([used] if used in list(each.distances)[3:] else [])]
    return f"by {', '.join(each.kinds)}, of {len(each.distances)} settings: " + ", ".join(
        f"{name}{' (the preset)' if name == used else ''} "
        + (
            f"at least {each.distances[name]:.2f} ({each.censored[name]} censored)"
            if each.censored[name]
            else f"{each.distances[name]:.2f}"
        )
        for name in named
    )


def _judge_targets(results: Results, search: Search) -> Sequence[Claim]:
    """Which targets the preset meets within a factor of 1.5, by the mean of its seeds."""
    rows = compare(results.where(task=search.task, move=search.used))
    known = {row.cell: row.middle / row.theirs for row in rows if row.middle and row.theirs}
    met = [cell for cell, ratio in known.items() if abs(log(ratio)) <= log(1.5)]
    if not rows:
        return []
    return [
        Claim(
            f"{search.task}: with it every target of the search is met within a factor of 1.5",
            "not measured"
            if not known
            else "reproduced"
            if len(met) == len(rows) >= search.targets
            else "in part"
            if met
            else "not reproduced",
            f"{len(rows)} of {search.targets} targets measured; ours / theirs: "
            + "; ".join(f"{row.cell}: {f'{known[row.cell]:.2f}' if row.cell in known else 'censored'}" for row in rows),
            ours=True,
        )
    ]


def _judge_maps(results: Results, search: Search) -> Sequence[Claim]:
    """Whether the preset is as near on another A: if not, its distance on one A says little."""
    cells = {kind: results.get(task=search.task, move=search.used, kind=kind) for kind in JUMPS}
    by_map = {kind: average(terms) for kind, cell in cells.items() if cell and (terms := measure(cell))}
    if len(by_map) < 2:
        return []
    return [
        Claim(
            f"{search.task}: the preset is as near on every A, within a factor of 1.5 of the distance",
            "reproduced" if max(by_map.values()) <= 1.5 * min(by_map.values()) else "not reproduced",
            "mean distance, each over the rows that came or were due within the budget: "
            + "; ".join(f"{k}: {v:.2f}" for k, v in by_map.items()),
            ours=True,
        )
    ]


def _judge_mechanism(results: Results, search: Search) -> Sequence[Claim]:
    """Whether the preset's jumps are the authors' in kind as well: attention sharpens as a row is found."""
    changes = find_entropy_changes(results, search)
    if search.used not in changes:
        return []
    return [
        Claim(
            f"{search.task}: with the preset heads sharpen where rows jump; settings where none does are left out",
            "reproduced" if changes[search.used].falls else "not reproduced",
            f"change of entropy, in nats over {WINDOW} steps around a jump: "
            + "; ".join(
                f"{name} {change.around:+.2f}{'' if change.falls else ' (left out)'}"
                for name, change in changes.items()
            ),
            ours=True,
        )
    ]


study = Study(
    cells=[
        *(make_jumps(name, number, seeds=3) for name in MAP_MOVES for number in range(len(JUMPS))),
        *(make_point(name, s) for name in MAP_MOVES for s in FITTED_SPARSITIES),
        *(make_whole(name) for name in MAP_MOVES),
        *(
            make_plateau(name, size, biased=biased, seeds=3)
            for biased in (False, True)
            for name in AUTOMATON_MOVES
            for size in FITTED_SIZES
        ),
    ],
    laptop=[
        *(make_jumps(name, 0, seeds=1, steps=1_500) for name in ("start", *move(USUAL.linear_map))),
        *(
            make_jumps(name, number, seeds=2, steps=2_500)
            for name in ("near", *move(NEAR, "near-"))
            for number in range(len(JUMPS))
        ),
        *(
            make_plateau(name, 8, biased=biased, seeds=1, budget=1.6)
            for biased in (False, True)
            for name in AUTOMATON_MOVES
        ),
    ],
    draw=draw,
    compare=compare,
    judge=judge,
)
