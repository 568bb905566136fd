"""Loss against step on cellular automata of growing size, without and with the true pattern as a bias."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from saltus.measure.outcomes import find_passings
from saltus.paper.setting import (
    LONG,
    PLATEAU_LEVEL,
    PLATEAU_SIZES,
    describe_long,
    long_plateaus,
    name_plateau,
    plateaus,
)
from saltus.specs import CellularAutomatonSpec
from saltus.studies.comparison import Claim, Comparison
from saltus.studies.panels import add_legend, label, open_plate
from saltus.studies.results import Results

runs = [*plateaus(seeds=3), *long_plateaus(seeds=3)]
laptop = [*plateaus((4, 8, 16), seeds=1), *long_plateaus(seeds=1)]


def draw(results: Results) -> Figure:
    """A curve for each seed, a shade for each size."""
    figure, axes = open_plate(2)
    shades = {size: colormaps["viridis"](place / len(PLATEAU_SIZES)) for place, size in enumerate(PLATEAU_SIZES)}
    for panel, biased in zip(axes, (False, True), strict=True):
        curves = {name_plateau(size, biased=biased): (f"S={size}", shades[size], "-") for size in PLATEAU_SIZES}
        if not biased:
            lines = dict(zip(LONG, ("-.", "--", ":"), strict=True))
            curves |= {name: (f"S=8, longer, {describe_long(name)}", shades[8], lines[name]) for name in lines}
        for name, (told, colour, line) in curves.items():
            if name not in results:
                continue
            records = results[name]
            for seed, losses in enumerate(records.cube("steps", "train_loss")):
                name_once = "" if seed else told
                panel.plot(records.evaluated_steps, losses, color=colour, linestyle=line, linewidth=1, label=name_once)
        panel.axhline(np.log(4), color="black", linewidth=0.8, linestyle=":")
        panel.set_xscale("symlog", linthresh=20)
        panel.set_xlim(left=0)
        title = "with the true pattern as a bias" if biased else "without a bias"
        label(panel, title, "step", "training loss (nats); dotted: chance")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """The loss at the end of the budget; the authors' curves were not read off point by point."""
    return [
        Comparison(name, None, list(records.cube("steps", "train_loss")[:, -1]), results.scale(name))
        for name, records in results.items()
    ]


def judge(results: Results) -> Sequence[Claim]:
    """A plateau at chance comes before the fall."""
    waits: dict[str, tuple[bool, bool]] = {}
    for name, records in results.items():
        task = records.spec.task
        if records.spec.intervention is None and isinstance(task, CellularAutomatonSpec) and task.size >= 8:
            early = (records.evaluated_steps >= 20) & (records.evaluated_steps <= 60)
            losses = records.cube("steps", "train_loss")[:, early]
            fell = all(passing.by is not None for passing in find_passings(records, PLATEAU_LEVEL))
            waits[name] = bool((np.abs(losses - np.log(4)) < 0.1).all()), fell
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
