"""Figures of one run's emergences and losses, each made from its records alone."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.curves import Emergence
from saltus.report.html.drawing import (
    Trace,
    axis,
    compose,
    find_range,
    label_units,
    level,
    line,
    step_axis,
    tone_of,
)
from saltus.report.html.palette import LINES, themed
from saltus.report.html.raster import Raster, draw_cells
from saltus.report.html.step_scale import StepScale
from saltus.report.html.survival_curves import Group, draw_curves
from saltus.report.run.summary import RunSummary, SeedSummary, format_interval
from saltus.train.records import RunRecords

_MOST_POINTS = 400  # of a line; longer ones are thinned


def draw_raster(summary: RunSummary) -> go.Figure:
    """Seeds by units and, set apart, the whole task: colour is the first step with it, hatching where there is none."""
    names = [*label_units(summary), "whole task"]
    cells = [[*seed.units, seed.task] for seed in summary.seeds]
    early, late = find_range(summary)
    raster = Raster(
        seeds=[str(seed.seed) for seed in summary.seeds],
        units=names,
        cells=cells,
        hover=[
            [f"seed {seed.seed}, {name}: {describe_emergence(cell)}" for name, cell in zip(names, row, strict=True)]
            for seed, row in zip(summary.seeds, cells, strict=True)
        ],
        censored=f"not by {summary.end:,} (censored)",
        lost="lost at least once after",
        first=early,
        last=late,
    )
    return draw_cells(raster, StepScale(summary.end, log=False))


def draw_losses(records: RunRecords, summary: RunSummary) -> go.Figure:
    """The loss over the whole sequence, a line for each seed, between chance and floor."""
    steps, loss = records.evaluated_steps, records.cube("steps", "loss")  # [seed, evaluation]
    kept = _thin(len(steps))
    many = len(summary.seeds) > 2 * len(LINES)
    traces = _levels(steps, float(records.facts.chance_loss.mean()), float(records.facts.floor_loss.mean()))
    for index, seed in enumerate(summary.seeds):
        colour = LINES[0] if many else LINES[index % len(LINES)]
        traces.append(
            line(steps[kept], loss[index, kept], f"seed {seed.seed}", themed(*colour, seed=seed.seed))
            | {
                "opacity": 0.4 if many else 0.9,
                "line": {
                    "color": colour[0],
                    "width": 1.4,
                    "dash": "solid" if many or index < len(LINES) else "dashdot",
                },
                "showlegend": not many,
            }
        )
    return compose(traces, height=380, xaxis=step_axis(summary), yaxis=axis("loss (nats for each prediction)"))


def draw_unit_losses(records: RunRecords, summary: RunSummary, index: int) -> go.Figure:
    """The loss of each unit of the seed at `index`; a line has the colour that its emergence has in the raster."""
    steps, loss = records.evaluated_steps, records.cube("units", "loss")[index]  # [evaluation, unit]
    chance = records.facts.mean_by_unit(records.facts.chance_loss)
    floor = records.facts.mean_by_unit(records.facts.floor_loss)
    kept, emergences, names = _thin(len(steps)), summary.seeds[index].units, label_units(summary)
    traces = _levels(steps, float(chance.mean()), float(floor.mean()))
    order = sorted(range(len(emergences)), key=lambda unit: (emergences[unit].by or np.inf, unit))
    for unit in order:
        light, dark = tone_of(emergences[unit], summary)
        name = names[unit]
        traces.append(
            line(steps[kept], loss[kept, unit], name, themed(light, dark))
            | {"line": {"color": light, "width": 1.6}, "opacity": 0.6 if emergences[unit].censored else 1.0}
        )
        by = emergences[unit].by
        if by is not None:
            at = int(np.searchsorted(steps, by))
            traces.append(
                line(steps[[at]], loss[[at], unit], f"{name}: {describe_emergence(emergences[unit])}", None)
                | {"mode": "markers", "marker": {"size": 7, "color": light}, "meta": themed(light, dark)}
                | {"showlegend": False, "hoverinfo": "name"}
            )
    height = int(np.clip(60 + 19 * len(names), 380, 700))  # so that the legend fits
    return compose(traces, height=height, xaxis=step_axis(summary), yaxis=axis("loss (nats for each prediction)"))


def draw_survival(summary: RunSummary) -> go.Figure:
    """Share of seeds without the whole task, with its band, and of all units pooled; how many are at risk beneath."""
    tasks = [seed.task for seed in summary.seeds]
    pooled = [unit for seed in summary.seeds for unit in seed.units]
    groups = [
        Group("whole task", "seeds", tasks, LINES[0]),
        Group("units, pooled", "units", pooled, LINES[1], dash="5,3", banded=False),
    ]
    return draw_curves(groups, StepScale(summary.end, log=False))


def describe_emergence(emergence: Emergence) -> str:
    """When a unit emerged and whether it was lost, as text."""
    text = f"not by {max(emergence.after, 0):,}" if emergence.by is None else f"step {format_interval(emergence)}"
    return text if emergence.lost is None else f"{text}, lost at {emergence.lost:,}"


def choose_seed(summary: RunSummary) -> SeedSummary:
    """The seed to show first: of those that learned most, the one that was done soonest."""
    return min(summary.seeds, key=lambda seed: (-seed.learned, (seed.last and seed.last.by) or 0, seed.seed))


def _levels(steps: NDArray[np.int64], chance: float, floor: float) -> list[Trace]:
    """Chance and, where it is known, the floor, as lines across the figure."""
    ends = steps[[0, -1]]
    traces = [level(ends, chance, f"chance {chance:.3f}", "dash")]
    return traces if np.isnan(floor) else [*traces, level(ends, floor, f"floor {floor:.3f}", "dot")]


def _thin(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(np.int64))
