"""Figures of one run, each made from its records alone."""

from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.measure.alignment import best_head
from saltus.measure.emergence import Emergence
from saltus.measure.survival import SurvivalCurve, estimate_survival, times_of
from saltus.records import RunRecords
from saltus.report.palette import LINES, NEUTRAL, STRONG, colour_scales, themed, tone
from saltus.report.tables import RunSummary, SeedSummary, format_interval, heads_at_end

Trace = dict[str, Any]

_MOST_POINTS = 400  # of a line; longer ones are thinned
_JUMP_EVALUATIONS = 12  # on either side of an emergence
_CELL = 0.92  # of the width of a cell in the raster


def draw_raster(summary: RunSummary) -> go.Figure:
    """Seeds by units and, set apart, the whole task: colour is the first step with it, hatching where there is none."""
    seeds, units = summary.seeds, summary.units
    task = len(units) + 0.4  # where the column of the whole task is
    columns = [*range(len(units)), task]
    names = [*_label_units(summary), "whole task"]
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
        common | {"name": "task", "x0": task, "dx": 1, "y": rows, "z": steps[:, last:], "text": [h[-1:] for h in hover]},
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
    return _figure(
        traces,
        height=int(np.clip(120 + 30 * len(seeds), 230, 1000)),
        meta={"light": light, "dark": dark},
        coloraxis={"cmin": early, "cmax": late, "colorscale": light, "colorbar": bar, "showscale": early < late},
        xaxis={"tickvals": columns, "ticktext": names, "range": [-0.6, task + 0.6], "showgrid": False, "tickangle": -45}
        | {"zeroline": False, "ticks": "", "showline": False},
        yaxis={"range": [len(seeds) - 0.4, -0.6], "showgrid": False, "zeroline": False, "title": {"text": "seed"}}
        | _seed_ticks(numbers)
        | {"ticks": "", "showline": False},
        barmode="overlay",
        legend=_legend_above(),
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
            _line(steps[kept], loss[index, kept], f"seed {seed.seed}", themed(colour, seed=seed.seed))
            | {
                "opacity": 0.4 if many else 0.9,
                "line": {"color": colour, "width": 1.4, "dash": "solid" if many or index < len(LINES) else "dot"},
                "showlegend": not many,
            }
        )
    return _figure(traces, height=380, xaxis=_step_axis(summary), yaxis=_axis("loss (nats for each prediction)"))


def draw_unit_losses(records: RunRecords, summary: RunSummary, index: int) -> go.Figure:
    """The loss of each unit of the seed at `index`; a line has the colour that its emergence has in the raster."""
    steps, loss = records.evaluated_steps, records.cube("units", "loss")[index]  # [evaluation, unit]
    chance = records.facts.mean_by_unit(records.facts.chance_loss)
    floor = records.facts.mean_by_unit(records.facts.floor_loss)
    kept, emergences, names = _thin(len(steps)), summary.seeds[index].units, _label_units(summary)
    traces = _levels(steps, float(chance.mean()), float(floor.mean()))
    order = sorted(range(len(emergences)), key=lambda unit: (emergences[unit].by or np.inf, unit))
    for unit in order:
        light, dark = _tone_of(emergences[unit], summary)
        name = names[unit]
        traces.append(
            _line(steps[kept], loss[kept, unit], name, themed(light, dark))
            | {"line": {"color": light, "width": 1.6}, "opacity": 0.6 if emergences[unit].censored else 1.0}
        )
        by = emergences[unit].by
        if by is not None:
            at = int(np.searchsorted(steps, by))
            traces.append(
                _line(steps[[at]], loss[[at], unit], f"{name}: {describe_emergence(emergences[unit])}", None)
                | {"mode": "markers", "marker": {"size": 7, "color": light}, "meta": themed(light, dark)}
                | {"showlegend": False, "hoverinfo": "name"}
            )
    return _figure(traces, height=380, xaxis=_step_axis(summary), yaxis=_axis("loss (nats for each prediction)"))


def draw_survival(summary: RunSummary) -> go.Figure:
    """Share of seeds without the whole task, with its band, and of all units pooled; how many are at risk beneath."""
    tasks = [seed.task for seed in summary.seeds]
    pooled = [unit for seed in summary.seeds for unit in seed.units]
    task, units = _survival(tasks), _survival(pooled)
    x, (lower, upper) = _extend(task, summary.end, task.lower, task.upper)
    edge: Trace = {"line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip", "mode": "lines", "type": "scatter"}
    traces: list[Trace] = [
        edge | {"x": x, "y": upper, "showlegend": False, "name": "upper end"},
        edge
        | {"x": x, "y": lower, "fill": "tonexty", "fillcolor": "rgba(0,114,178,0.16)", "name": f"{task.level:.0%} band"}
        | {"showlegend": True},
    ]
    for curve, name, colour, dash in ((task, "whole task", LINES[0], "solid"), (units, "units, pooled", LINES[1], "5,3")):
        x, (survival,) = _extend(curve, summary.end, curve.survival)
        traces.append(
            _line(x, survival, name, themed(colour))
            | {"line": {"shape": "hv", "color": colour, "width": 2.2, "dash": dash}}
        )
    ticks = np.unique(np.linspace(0, summary.end, 6).astype(int))
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
                "textfont": {"color": colour, "size": 12},
                "yaxis": "y2",
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    return _figure(
        traces,
        height=430,
        xaxis=_step_axis(summary) | {"tickvals": ticks, "anchor": "y2", "tickformat": ","},
        yaxis=_axis("share not yet there") | {"range": [-0.03, 1.05], "domain": [0.28, 1.0], "tickformat": ".0%"},
        yaxis2={"domain": [0.0, 0.17], "range": [1.6, -0.6], "tickvals": [0, 1], "ticktext": ["seeds", "units"]}
        | {"showgrid": False, "zeroline": False, "title": {"text": "at risk"}, "ticks": "", "showline": False},
        legend=_legend_above(),
    )


def draw_jumps(records: RunRecords, summary: RunSummary, index: int) -> go.Figure:
    """Entropy and truth mass of each unit's best head around the unit's emergence, for the seed at `index`."""
    steps, every = records.evaluated_steps, records.spec.training.evaluate.every
    grid = every * np.arange(-_JUMP_EVALUATIONS, _JUMP_EVALUATIONS + 1)
    mass, entropy = (_merge_heads(records.cube("heads", name)[index]) for name in ("truth_mass", "entropy"))
    traces: list[Trace] = []
    names = _label_units(summary)
    for panel, (values, axis) in enumerate(((entropy, "x"), (mass, "x2"))):
        place = {"xaxis": axis, "yaxis": "y" if panel == 0 else "y2", "showlegend": False}
        aligned: list[NDArray[np.float64]] = []
        for unit, emergence in enumerate(summary.seeds[index].units):
            if emergence.by is None:
                continue
            head = _best_at(mass, steps, emergence.by, unit)
            offset, value = steps - emergence.by, values[:, head, unit]
            near = np.abs(offset) <= grid[-1]
            aligned.append(np.interp(grid, offset, value, left=np.nan, right=np.nan))
            light, dark = _tone_of(emergence, summary)
            traces.append(
                _line(offset[near], value[near], names[unit], themed(light, dark))
                | {"line": {"color": light, "width": 1.1}, "opacity": 0.55}
                | place
            )
        if aligned:
            stack = np.stack(aligned)
            enough = 2 * np.isfinite(stack).sum(axis=0) > len(stack)
            middle = np.nanmedian(stack[:, enough], axis=0)
            traces.append(
                _line(grid[enough], middle, "median", themed(*STRONG))
                | {"line": {"color": STRONG[0], "width": 3.2}}
                | place
            )
    chance = _chance_entropy(records)
    if traces:
        traces.append(_level(grid[[0, -1]], chance, "uniform over the candidate keys", "dash") | {"showlegend": False})
    gap = {"tickformat": "+,", "zeroline": True, "range": [float(grid[0]), float(grid[-1])]}
    return _figure(
        traces,
        height=340,
        xaxis=_axis("steps from the jump") | gap | {"domain": [0.0, 0.45]},
        xaxis2=_axis("steps from the jump") | gap | {"domain": [0.55, 1.0], "anchor": "y2"},
        yaxis=_axis("entropy (nats)") | {"rangemode": "tozero"},
        yaxis2=_axis("mass on the true keys") | {"anchor": "x2", "range": [-0.03, 1.05], "tickformat": ".0%"},
        annotations=[] if traces else [_note(f"Nothing emerged in seed {summary.seeds[index].seed}.")],
    )


def draw_overlap(records: RunRecords, summary: RunSummary) -> go.Figure:
    """Overlap of the best head with the truth at the end, a dot for each unit and seed, beside the chance level."""
    _, overlap = best_head(heads_at_end(records, "overlap"))  # [seed, unit]
    there = records.cube("units", "progress")[:, -1] >= records.spec.emergence.threshold
    count, names = len(summary.seeds), _label_units(summary)
    shift = np.linspace(-0.3, 0.3, count) if count > 1 else np.zeros(1)
    traces: list[Trace] = [
        {
            "type": "bar",
            "name": "chance: the luckiest of as many random heads",
            "x": np.arange(len(names)),
            "y": np.array([unit.chance for unit in summary.units]),
            "width": 0.86,
            "marker": {"color": "rgba(128,128,128,0.22)"},
            "hovertemplate": "chance %{y:.2f}<extra></extra>",
        }
    ]
    for shown, name, colour, symbol in (
        (there, "there at the end", LINES[0], "circle"),
        (~there, "not there at the end", LINES[1], "circle-open"),
    ):
        seed, unit = np.nonzero(shown)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": unit + shift[seed],
                "y": overlap[seed, unit],
                "text": [f"seed {summary.seeds[s].seed}, {names[u]}" for s, u in zip(seed, unit, strict=True)],
                "hovertemplate": "%{text}: %{y:.2f}<extra></extra>",
                "marker": {"color": colour, "symbol": symbol, "size": 8 if count <= 16 else 5, "line": {"width": 1.6}},
            }
        )
    return _figure(
        traces,
        height=380,
        xaxis={"tickvals": np.arange(len(names)), "ticktext": names, "showgrid": False, "zeroline": False}
        | {"range": [-0.6, len(names) - 0.4], "tickangle": -45, "ticks": ""},
        yaxis=_axis("share of the true keys found") | {"range": [-0.04, 1.06], "tickformat": ".0%"},
        legend=_legend_above(),
    )


def describe_emergence(emergence: Emergence) -> str:
    """When a unit emerged and whether it was lost, as text."""
    text = f"not by {max(emergence.after, 0):,}" if emergence.by is None else f"step {format_interval(emergence)}"
    return text if emergence.lost is None else f"{text}, lost at {emergence.lost:,}"


def find_range(summary: RunSummary) -> tuple[int, int]:
    """The earliest and the latest step at which any unit, or the task, emerged; the last step twice if none did."""
    steps = [cell.by for seed in summary.seeds for cell in (*seed.units, seed.task) if cell.by is not None]
    return (min(steps), max(steps)) if steps else (summary.end, summary.end)


def choose_seed(summary: RunSummary) -> SeedSummary:
    """The seed to show first: of those that learned most, the one that was done soonest."""
    return min(summary.seeds, key=lambda seed: (-seed.learned, (seed.last and seed.last.by) or 0, seed.seed))


def _figure(traces: list[Trace], **layout: Any) -> go.Figure:
    common: dict[str, Any] = {
        "template": go.layout.Template(),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": STRONG[0]},
        "margin": {"l": 60, "r": 12, "t": 12, "b": 48},
        "hovermode": "closest",
        "legend": {"orientation": "v"},
    }
    return go.Figure({"data": traces, "layout": common | layout})


def _label_units(summary: RunSummary) -> list[str]:
    """Names of the units, escaped, since plotly reads some HTML in its texts."""
    return [escape(unit.name, quote=False) for unit in summary.units]


def _axis(title: str) -> dict[str, Any]:
    return {"title": {"text": title}, "zeroline": False, "automargin": True}


def _step_axis(summary: RunSummary) -> dict[str, Any]:
    return _axis("step") | {"range": [0, summary.end], "tickformat": ","}


def _legend_above() -> dict[str, Any]:
    return {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}


def _seed_ticks(numbers: list[int]) -> dict[str, Any]:
    kept = range(0, len(numbers), 1 + (len(numbers) - 1) // 30)
    return {"tickvals": list(kept), "ticktext": [str(numbers[row]) for row in kept]}


def _line(x: NDArray[Any], y: NDArray[np.float64], name: str, meta: dict[str, Any] | None) -> Trace:
    values = y.astype(np.float32)  # half the size, and more digits than a screen shows
    trace: Trace = {"type": "scatter", "mode": "lines", "name": name, "x": x.astype(np.int32), "y": values}
    return trace | {"meta": meta, "hovertemplate": f"%{{fullData.name}}: %{{y:.3f}} at %{{x:,}}<extra></extra>"}


def _level(x: NDArray[Any], level: float, name: str, dash: str) -> Trace:
    trace = _line(x, np.full(len(x), level), name, themed(*NEUTRAL))
    return trace | {"line": {"color": NEUTRAL[0], "width": 1.4, "dash": dash}}


def _levels(steps: NDArray[np.int64], chance: float, floor: float) -> list[Trace]:
    """Chance and, where it is known, the floor, as lines across the figure."""
    ends = steps[[0, -1]]
    traces = [_level(ends, chance, f"chance {chance:.3f}", "dash")]
    return traces if np.isnan(floor) else [*traces, _level(ends, floor, f"floor {floor:.3f}", "dot")]


def _note(text: str) -> dict[str, Any]:
    return {"text": text, "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}


def _thin(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(np.int64))


def _tone_of(emergence: Emergence, summary: RunSummary) -> tuple[str, str]:
    if emergence.by is None:
        return NEUTRAL
    early, late = find_range(summary)
    return tone((emergence.by - early) / max(1, late - early))


def _survival(emergences: list[Emergence]) -> SurvivalCurve:
    return estimate_survival(*times_of(emergences))


def _extend(curve: SurvivalCurve, end: int, *values: NDArray[np.float64]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """The curve up to the last evaluation, which it may end before."""
    return np.append(curve.times, end), [np.append(value, value[-1]) for value in values]


def _merge_heads(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[evaluation, layer, head, unit] -> [evaluation, head, unit]."""
    return values.reshape(len(values), -1, values.shape[-1])


def _best_at(mass: NDArray[np.float64], steps: NDArray[np.int64], step: int, unit: int) -> int:
    """The head with the most mass on a unit's true keys at a step; the first head where all are NaN."""
    index, _ = best_head(mass[int(np.searchsorted(steps, step))])
    return max(int(index[unit]), 0)


def _chance_entropy(records: RunRecords) -> float:
    """Entropy of attention that is uniform over the candidate keys, mean over the scored queries."""
    return float(np.log(records.facts.candidates[records.facts.scored].sum(axis=1)).mean())
