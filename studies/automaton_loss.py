"""Loss against step on cellular automata of growing size, without and with the true pattern as a bias."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from saltus.paper.setting import PLATEAU_SIZES, plateaus
from saltus.report.comparison import Claim, Comparison
from saltus.report.plates import add_legend, label, open_plate
from saltus.results import Results
from saltus.specs import CellularAutomatonSpec

runs = plateaus(seeds=3)
laptop = plateaus((4, 8, 16), seeds=1)


def draw(results: Results) -> Figure:
    """A curve for each seed, a shade for each size."""
    figure, axes = open_plate(2)
    for panel, kind in zip(axes, ("plain", "biased"), strict=True):
        for place, size in enumerate(PLATEAU_SIZES):
            name = f"size-{size}-{kind}"
            if name not in results:
                continue
            records = results[name]
            colour = colormaps["viridis"](place / len(PLATEAU_SIZES))
            for seed, losses in enumerate(records.cube("steps", "train_loss")):
                panel.plot(
                    records.evaluated_steps, losses, color=colour, linewidth=1, label="" if seed else f"S={size}"
                )
        panel.axhline(np.log(4), color="black", linewidth=0.8, linestyle=":")
        panel.set_xscale("symlog", linthresh=20)
        panel.set_xlim(left=0)
        title = "without a bias" if kind == "plain" else "with the true pattern as a bias"
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
    flat: dict[str, bool] = {}
    for name, records in results.items():
        task = records.spec.task
        if name.endswith("plain") and isinstance(task, CellularAutomatonSpec) and task.size >= 8:
            early = records.cube("steps", "train_loss")[:, 1:4]
            flat[name] = bool((np.abs(early - np.log(4)) < 0.1).all())
    if not flat:
        return []
    return [
        Claim(
            "without a bias the loss waits at chance before it falls (S of 8 and more)",
            "reproduced" if all(flat.values()) else "in part" if any(flat.values()) else "not reproduced",
            "within 0.1 nats of ln 4 over steps 20 to 60: " + ", ".join(f"{k} {v}" for k, v in flat.items()).lower(),
        )
    ]
