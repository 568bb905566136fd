"""Figures of one run's emergences and losses, each made from its records alone."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.measure.emergence import Emergence
from saltus.measure.survival import SurvivalCurve, estimate_survival, times_of
from saltus.records import RunRecords
from saltus.report.drawing import (
    Trace,
    axis,
    compose,
    find_range,
    label_units,
    legend_above,
    level,
    line,
    step_axis,
    tone_of,
)
from saltus.report.palette import LINES, colour_scales, themed
from saltus.report.tables import RunSummary, SeedSummary, format_interval

_MOST_POINTS = 400  # of a line; longer ones are thinned
_CELL = 0.92  # of the width of a cell in the raster


def draw_raster(summary: RunSummary) -> go.Figure:
    """Seeds by units and, set apart, the whole task: colour is the first step with it, hatching where there is none."""
    seeds, units = summary.seeds, summary.units
    task = len(units) + 0.4  # where the column of the whole task is
    columns = [*range(len(units)), task]
    names = [*label_units(summary), "whole task"]
    cells = [[*seed.units, seed.task] for seed in seeds]
    steps = np.array([[np.nan if cell.by is None else cell.by for cell in row] for row in cells])
    hover = [
        [f"seed {seed.seed}, {name}: {describe_emergence(cell)}" for name, cell in zip(names, row, strict=True)]
        for seed, row in zip(seeds, cells, strict=True)
    ]
    common = {"type": "heatmap", "coloraxis": "coloraxis", "xgap": 2, "ygap": 2, "hoverinfo": "text"}
    numbers = [seed.seed for seed in seeds]
    rows = np.arange(len(seeds))
    last = len(units)
    traces: list[Trace] = [
        common | {"name": "units", "x": columns[:-1], "y": rows, "z": steps[:, :last], "text": [h[:-1] for h in hover]},
        common
        | {"name": "task", "x0": task, "dx": 1, "y": rows, "z": steps[:, last:], "text": [h[-1:] for h in hover]},
    ]
    empty = [(row, column) for row in rows for column in range(last + 1) if np.isnan(steps[row, column])]
    lost = [(row, column) for row in rows for column in range(last + 1) if cells[row][column].lost is not None]
    if empty:
        traces.append(
            {
                "type": "bar",
                "name": f"not by {summary.end:,} (censored)",
                "x": [columns[column] for _, column in empty],
                "y": [_CELL for _ in empty],
                "base": [row - _CELL / 2 for row, _ in empty],
                "width": _CELL,
                "marker": {
                    "color": "rgba(128,128,128,0.10)",
                    "pattern": {"shape": "/", "size": 7, "solidity": 0.18, "fillmode": "overlay", "fgcolor": "#888"},
                },
                "hovertext": [hover[row][column] for row, column in empty],
                "hoverinfo": "text",
                "showlegend": True,
            }
        )
    if lost:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "lost at least once after",
                "x": [columns[column] for _, column in lost],
                "y": [row for row, _ in lost],
                "marker": {"symbol": "x", "size": 9, "color": "#fff", "line": {"color": "#000", "width": 1}},
                "hovertext": [hover[row][column] for row, column in lost],
                "hoverinfo": "text",
                "showlegend": True,
            }
        )
    early, late = find_range(summary)
    light, dark = colour_scales()
    bar = {"title": {"text": "step", "side": "right"}, "thickness": 12, "len": 1.0, "outlinewidth": 0}
    return compose(
        traces,
        height=int(np.clip(120 + 30 * len(seeds), 230, 1000)),
        meta={"light": light, "dark": dark},
        coloraxis={"cmin": early, "cmax": late, "colorscale": light, "colorbar": bar, "showscale": early < late},
        xaxis={"tickvals": columns, "ticktext": names, "range": [-0.6, task + 0.6], "showgrid": False, "tickangle": -45}
        | {"automargin": True, "zeroline": False, "ticks": "", "showline": False},
        yaxis={"range": [len(seeds) - 0.4, -0.6], "showgrid": False, "zeroline": False, "title": {"text": "seed"}}
        | _seed_ticks(numbers)
        | {"ticks": "", "showline": False},
        barmode="overlay",
        legend=legend_above(),
    )


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
    task, units = _survival(tasks), _survival(pooled)
    x, (lower, upper) = _extend(task, summary.end, task.lower, task.upper)
    fill: Trace = {"fill": "tonexty", "fillcolor": "rgba(61,154,214,0.22)", "showlegend": True}
    edge: Trace = {"line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip", "mode": "lines", "type": "scatter"}
    traces: list[Trace] = [
        edge | {"x": x, "y": upper, "showlegend": False, "name": "upper end"},
        edge | {"x": x, "y": lower, "name": f"{task.level:.0%} band"} | fill,
    ]
    for curve, name, colour, dash in (
        (task, "whole task", LINES[0], "solid"),
        (units, "units, pooled", LINES[1], "5,3"),
    ):
        x, (survival,) = _extend(curve, summary.end, curve.survival)
        traces.append(
            line(x, survival, name, themed(*colour))
            | {"line": {"shape": "hv", "color": colour[0], "width": 2.2, "dash": dash}}
        )
    ticks = _round_steps(summary.end)
    for row, (emergences, colour) in enumerate(((tasks, LINES[0]), (pooled, LINES[1]))):
        times, _ = times_of(emergences)
        traces.append(
            {
                "type": "scatter",
                "mode": "text",
                "name": "at risk",
                "x": ticks,
                "y": np.full(len(ticks), row),
                "text": [str(int((times >= tick).sum())) for tick in ticks],
                "textfont": {"color": colour[0], "size": 12},
                "meta": themed(*colour),
                "cliponaxis": False,
                "yaxis": "y2",
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return compose(
        traces,
        height=430,
        xaxis=step_axis(summary)
        | {"range": [-0.03 * summary.end, 1.03 * summary.end], "tickvals": ticks, "anchor": "y2", "tickformat": ","},
        yaxis=axis("share not yet there") | {"range": [-0.03, 1.05], "domain": [0.27, 1.0], "tickformat": ".0%"},
        yaxis2={"domain": [0.0, 0.16], "range": [1.6, -0.6], "tickvals": [0, 1], "ticktext": ["seeds", "units"]}
        | {"showgrid": False, "zeroline": False, "title": {"text": "at risk"}, "ticks": "", "showline": False},
        legend=legend_above(),
    )


def describe_emergence(emergence: Emergence) -> str:
    """When a unit emerged and whether it was lost, as text."""
    text = f"not by {max(emergence.after, 0):,}" if emergence.by is None else f"step {format_interval(emergence)}"
    return text if emergence.lost is None else f"{text}, lost at {emergence.lost:,}"


def choose_seed(summary: RunSummary) -> SeedSummary:
    """The seed to show first: of those that learned most, the one that was done soonest."""
    return min(summary.seeds, key=lambda seed: (-seed.learned, (seed.last and seed.last.by) or 0, seed.seed))


def _survival(emergences: list[Emergence]) -> SurvivalCurve:
    return estimate_survival(*times_of(emergences))


def _extend(curve: SurvivalCurve, end: int, *values: NDArray[np.float64]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """The curve up to the last evaluation, which it may end before."""
    return np.append(curve.times, end), [np.append(value, value[-1]) for value in values]


def _levels(steps: NDArray[np.int64], chance: float, floor: float) -> list[Trace]:
    """Chance and, where it is known, the floor, as lines across the figure."""
    ends = steps[[0, -1]]
    traces = [level(ends, chance, f"chance {chance:.3f}", "dash")]
    return traces if np.isnan(floor) else [*traces, level(ends, floor, f"floor {floor:.3f}", "dot")]


def _thin(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(np.int64))


def _seed_ticks(numbers: list[int]) -> dict[str, Any]:
    kept = range(0, len(numbers), 1 + (len(numbers) - 1) // 30)
    return {"tickvals": list(kept), "ticktext": [str(numbers[row]) for row in kept]}


def _round_steps(end: int) -> NDArray[np.int64]:
    """About five round numbers from 0 to the end."""
    least = max(1.0, end / 5)
    magnitude = 10 ** int(np.log10(least))
    return np.arange(0, end + 1, next(factor for factor in (1, 2, 5, 10) if factor * magnitude >= least) * magnitude)
