"""Loss against step on cellular automata of growing size, without and with the true pattern as a bias."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from automaton_plateau import SIZES, cells, describe, laptop
from saltus.paper.setting import PLATEAU_LEVEL
from saltus.specs import CellularAutomatonSpec
from saltus.studies.claims import Claim, Comparison
from saltus.studies.panels import add_legend, label, open_panels
from saltus.studies.results import Results
from saltus.studies.study import Study


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
    return [Comparison(result.name, None, list(result.final_loss), result.scale) for result in results]


def judge(results: Results) -> Sequence[Claim]:
    """A plateau at chance comes before the fall."""
    waits: dict[str, tuple[bool, bool]] = {}
    for result in results:
        task, records = result.cell.run.task, result.records
        if result.cell.run.intervention is None and isinstance(task, CellularAutomatonSpec) and task.size >= 8:
            early = (records.evaluated_steps >= 20) & (records.evaluated_steps <= 60)
            losses = records.cube("steps", "train_loss")[:, early]
            fell = None not in result.passings(PLATEAU_LEVEL)
            waits[result.name] = bool((np.abs(losses - np.log(4)) < 0.1).all()), fell
    if not waits:
        return []
    flat = [waited for waited, _ in waits.values()]
    whole = all(flat) and all(fell for _, fell in waits.values())
    told = "; ".join(
        f"{name} {'waits' if waited else 'does not wait'}, {'falls' if fell else 'does not fall in its budget'}"
        for name, (waited, fell) in waits.items()
    )
    return [
        Claim(
            "without a bias the loss waits at chance before it falls (S of 8 and more)",
            "reproduced" if whole else "in part" if any(flat) else "not reproduced",
            f"waits: within 0.1 nats of ln 4 over steps 20 to 60; falls: below {PLATEAU_LEVEL} in every seed: {told}",
        )
    ]


study = Study(cells=cells, laptop=laptop, draw=draw, compare=compare, judge=judge)
