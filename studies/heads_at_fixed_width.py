"""How many heads at a width of 128: the head dimension is what is left, 128 / heads."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from heads_and_dimension import TASKS, make_run
from saltus.paper.claims import ON_HEADS
from saltus.paper.setting import USUAL, automaton, with_heads
from saltus.specs import TransformerSpec
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison
from saltus.studies.panels import OURS, add_legend, draw_ours, label, open_panels
from saltus.studies.results import Results
from saltus.studies.study import Study

HEADS = (1, 2, 4, 8, 16, 32, 64, 128)

EARLY, EARLY_STEPS = (4, 8, 16), 2_000
"""Heads that are tried on automata of the paper's size in fewer steps, in bfloat16, with one seed."""

EARLY_SETTING = replace(USUAL.automaton, learning_rate=3e-3)
"""At which the plateau of 8 cells ended soonest at so many tokens, with the initialisation of decision 21, row 12."""

TITLES = {**TASKS, "cellular_automata_early": f"cellular automata, S=16, {EARLY_STEPS:,} steps"}


def make_early() -> list[Cell]:
    """Automata at the paper's size, for as long as can be waited for on a CPU."""
    models = {h: TransformerSpec(layers=4, d_model=128, heads=h) for h in EARLY}
    asked: dict[str, Any] = {"steps": EARLY_STEPS, "seeds": 1, "setting": EARLY_SETTING, "precision": "bfloat16"}
    return [
        Cell(
            task="cellular_automata_early",
            heads=h,
            short=True,
            run=automaton(f"automaton-early-h{h}", model=model, **asked),
        )
        for h, model in models.items()
    ]


def make(heads: Sequence[int], *, small: bool) -> list[Cell]:
    """Both tasks."""
    models = {
        "linear_map": {h: with_heads(h) for h in heads},
        "cellular_automata": {h: TransformerSpec(layers=4, d_model=128, heads=h) for h in heads},
    }
    names = {"linear_map": "linear-map", "cellular_automata": "automaton"}
    return [
        Cell(task=task, heads=h, run=make_run(f"{names[task]}-h{h}", task, model, small=small))
        for task in TASKS
        for h, model in models[task].items()
    ]


def draw(results: Results) -> Figure:
    """Final loss against heads, for each task."""
    figure, axes = open_panels(3)
    for panel, (task, title) in zip(axes, TITLES.items(), strict=True):
        found = results.where(task=task).by("heads")
        losses = [found[heads].final_loss if heads in found else [] for heads in HEADS]
        draw_ours(panel, HEADS, losses, "ours, dots: seeds", OURS[0])
        panel.set_xscale("log", base=2)
        label(panel, title, "heads (head dimension 128 / heads)", "final training loss (nats)")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss; the authors' points of this figure were not read off."""
    return [result.compare_loss(result.name) for result in results]


def judge(results: Results) -> Sequence[Claim]:
    """More heads learn more rows of the linear map; automata need a minimum of head dimension."""
    return [
        *_judge_map(results.where(task="linear_map")),
        *_judge_automaton("cellular automata", results.where(task="cellular_automata")),
        *_judge_automaton(
            f"cellular automata after {EARLY_STEPS:,} steps", results.where(task="cellular_automata_early")
        ),
    ]


def _judge_map(results: Results) -> Sequence[Claim]:
    rows = {int(heads): result.learned for heads, result in results.by("heads").items()}
    if len(rows) < 2:
        return []
    few, many = (rows[h].mean() for h in (min(rows), max(rows)))
    best = max(rows, key=lambda h: rows[h].mean())
    return [
        Claim(
            "linear map: many tiny heads beat a few large ones at the same width",
            "reproduced" if many > few and best >= 8 else "in part" if best > min(rows) else "not reproduced",
            "rows learned by heads: " + "; ".join(f"{h}: {', '.join(map(str, n))}" for h, n in rows.items()),
        )
    ]


def _judge_automaton(about: str, results: Results) -> Sequence[Claim]:
    loss = {int(heads): float(result.final_loss.mean()) for heads, result in results.by("heads").items()}
    if len(loss) < 3:
        return []
    best = min(loss, key=loss.__getitem__)
    scales = {result.scale for result in results}
    whole = min(loss) < best < max(loss) and scales == {"full"}
    told = ", ".join(f"{h}: {value:.3f}" for h, value in loss.items())
    return [
        Claim(
            f"{about}: more heads help until a head is too small",
            "reproduced" if whole else "in part" if best > min(loss) else "not reproduced",
            f"final loss by heads: {told} ({' and '.join(sorted(scales))})",
        )
    ]


study = Study(
    cells=[*make(HEADS, small=False), *make_early()],
    laptop=make(HEADS[:6], small=True),
    draw=draw,
    compare=compare,
    judge=judge,
    about=ON_HEADS,
)
