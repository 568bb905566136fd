"""A raster of emergences: seeds by units and, set apart, the whole of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from plotly.graph_objects import Figure

from saltus.curves import Emergence
from saltus.report.html.drawing import Trace, compose, legend_above
from saltus.report.html.palette import colour_scales
from saltus.report.html.step_scale import StepScale

_CELL = 0.92  # of the width of a cell


@dataclass(frozen=True)
class Raster:
    """What is drawn. Texts must be escaped."""

    seeds: Sequence[str]
    """[row]"""
    units: Sequence[str]
    """[column] names; the last one is that of the whole."""
    cells: Sequence[Sequence[Emergence]]
    """[row][column]"""
    hover: Sequence[Sequence[str]]
    """[row][column]"""
    censored: str
    """What hatching means."""
    lost: str
    """What a cross means."""
    first: int
    """Step of the first colour."""
    last: int
    """Step of the last colour."""


def draw_cells(raster: Raster, scale: StepScale) -> Figure:
    """Colour is the first step with a unit, hatching where there is none."""
    count, cells = len(raster.units) - 1, raster.cells
    whole = count + 0.4  # where the column of the whole is
    columns = [*range(count), whole]
    places = np.array([[np.nan if c.by is None else float(scale.place(c.by)) for c in row] for row in cells])
    places = places.reshape(-1, count + 1)  # also where there is no seed
    common = {"type": "heatmap", "coloraxis": "coloraxis", "xgap": 2, "ygap": 2, "hoverinfo": "text"}
    rows = range(len(raster.seeds))
    parts = [[row[:count] for row in raster.hover], [row[count:] for row in raster.hover]]
    traces: list[Trace] = [
        common | {"name": "units", "x": columns[:-1], "y": list(rows), "z": places[:, :count], "text": parts[0]},
        common | {"name": "task", "x0": whole, "dx": 1, "y": list(rows), "z": places[:, count:], "text": parts[1]},
    ]
    empty = [(row, column) for row in rows for column in range(count + 1) if np.isnan(places[row, column])]
    lost = [(row, column) for row in rows for column in range(count + 1) if cells[row][column].lost is not None]
    if empty:
        traces.append(
            {
                "type": "bar",
                "name": raster.censored,
                "x": [columns[column] for _, column in empty],
                "y": [_CELL for _ in empty],
                "base": [row - _CELL / 2 for row, _ in empty],
                "width": _CELL,
                "marker": {
                    "color": "rgba(128,128,128,0.10)",
                    "pattern": {"shape": "/", "size": 7, "solidity": 0.18, "fillmode": "overlay", "fgcolor": "#888"},
                },
                "hovertext": [raster.hover[row][column] for row, column in empty],
                "hoverinfo": "text",
                "showlegend": True,
            }
        )
    if lost:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": raster.lost,
                "x": [columns[column] for _, column in lost],
                "y": [row for row, _ in lost],
                "marker": {"symbol": "x", "size": 9, "color": "#fff", "line": {"color": "#000", "width": 1}},
                "hovertext": [raster.hover[row][column] for row, column in lost],
                "hoverinfo": "text",
                "showlegend": True,
            }
        )
    light, dark = colour_scales()
    bar: dict[str, Any] = {"title": {"text": "step", "side": "right"}, "thickness": 12, "len": 1.0, "outlinewidth": 0}
    if scale.log:
        bar |= StepScale(raster.last, log=True).tick(raster.first)
    limits = {"cmin": float(scale.place(raster.first)), "cmax": float(scale.place(raster.last))}
    return compose(
        traces,
        height=int(np.clip(120 + 30 * len(raster.seeds), 230, 1000)),
        meta={"light": light, "dark": dark},
        coloraxis=limits | {"colorscale": light, "colorbar": bar, "showscale": raster.first < raster.last},
        xaxis={"tickvals": columns, "ticktext": list(raster.units), "range": [-0.6, whole + 0.6], "showgrid": False}
        | {"tickangle": -45, "automargin": True, "zeroline": False, "ticks": "", "showline": False},
        yaxis={"range": [len(raster.seeds) - 0.4, -0.6], "showgrid": False, "zeroline": False}
        | {"title": {"text": "seed"}, "ticks": "", "showline": False}
        | _label_rows(raster.seeds),
        barmode="overlay",
        legend=legend_above(),
    )


def _label_rows(seeds: Sequence[str]) -> dict[str, Any]:
    kept = range(0, len(seeds), 1 + max(0, len(seeds) - 1) // 30)
    return {"tickvals": list(kept), "ticktext": [seeds[row] for row in kept]}
