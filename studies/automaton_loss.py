"""Loss against step on cellular automata of growing size, without and with the true pattern as a bias."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from automaton_plateau import SIZES, cells, describe, laptop
from saltus.measure.abruptness import measure_abruptness
from saltus.paper.claims import ON_SEARCH
from saltus.specs import CellularAutomatonSpec
from saltus.studies.claims import Claim, Comparison, Verdict
from saltus.studies.panels import add_legend, label, open_panels
from saltus.studies.results import Results
from saltus.studies.study import Study

WAITS = 0.8
"""Largest width of a fall, over the step of its middle, before which a loss has waited."""

FALLEN = 1.2
"""Nats: at or above it the loss has not fallen. Knowing the shares of the symbols in context gives 1.34 or more."""


def draw(results: Results) -> Figure:
    """A curve for each seed, a shade for each size."""
    figure, axes = open_panels(2)
    shades = {size: colormaps["viridis"](place / len(SIZES)) for place, size in enumerate(SIZES)}
    for panel, biased in zip(axes, (False, True), strict=True):
        sized = [(results.get(size=size, biased=biased), f"S={size}", shades[size], "-") for size in SIZES]
        watched = zip([] if biased else results.having("rate"), ("-.", "--", ":"), strict=False)
        sized += [(result, f"S=8, longer, {describe(result)}", shades[8], line) for result, line in watched]
        for result, told, colour, line in sized:
            if result is None:
                continue
            for seed, losses in enumerate(result.records.cube("steps", "train_loss")):
                told_once = "" if seed else told
                steps = result.records.evaluated_steps
                panel.plot(steps, losses, color=colour, linestyle=line, linewidth=1, label=told_once)
        panel.axhline(np.log(4), color="black", linewidth=0.8, linestyle=":")
        panel.set_xscale("symlog", linthresh=20)
        panel.set_xlim(left=0)
        title = "with the true pattern as a bias" if biased else "without a bias"
        label(panel, title, "step", "training loss (nats); dotted: chance")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """The loss at the end of the budget; the authors' curves were not read off point by point."""
    return [result.compare_loss(result.name) for result in results]


def judge(results: Results) -> Sequence[Claim]:
    """A plateau at chance comes before the fall."""
    waits: dict[str, list[float | None]] = {}
    for result in results:
        task, steps = result.cell.run.task, result.records.evaluated_steps
        if result.cell.run.intervention is None and isinstance(task, CellularAutomatonSpec) and task.size >= 8:
            waits[result.name] = [_measure_fall(steps, seed) for seed in result.records.cube("steps", "train_loss")]
    told = "; ".join(
        f"{name} " + ", ".join("does not fall" if width is None else f"{width:.2f}" for width in widths)
        for name, widths in waits.items()
    )
    return [
        Claim(
            "without a bias the loss waits at chance before it falls (S of 8 and more)",
            _judge_waits([width for widths in waits.values() for width in widths]),
            f"steps from 10% to 90% of the fall below ln 4 over the step of its middle, by seed: {told}. A loss "
            f"waits if that is at most {WAITS}; a straight line has twice as much. It has fallen below {FALLEN}",
        )
    ]


def _measure_fall(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> float | None:
    """Width of the fall below chance over the step of its middle; None if the loss, in nats, has not fallen."""
    if losses[-1] >= FALLEN:
        return None
    known = np.isfinite(losses)  # nothing is trained by step 0
    return measure_abruptness(steps[known], np.minimum(losses[known], np.log(4))).width.value


def _judge_waits(widths: Sequence[float | None]) -> Verdict:
    """From the width of the fall in each seed of each cell; None is one that did not fall, which says nothing."""
    waited = [width <= WAITS for width in widths if width is not None]
    if not waited:
        return "not measured"
    whole = all(waited) and len(waited) == len(widths)
    return "reproduced" if whole else "in part" if any(waited) else "not reproduced"


study = Study(cells=cells, laptop=laptop, draw=draw, compare=compare, judge=judge, about=ON_SEARCH)
