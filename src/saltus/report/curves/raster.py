"""A raster of emergences: a tile for each seed and unit and, set apart, the whole of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Figure

from saltus.curves import Emergence
from saltus.report.curves.words import describe_emergence, describe_end, list_runs, name_runs
from saltus.report.html.drawing import Colour, Trace, compose, legend_above
from saltus.report.html.labels import protect, shorten
from saltus.report.html.palette import NEUTRAL, colour_scales, tone
from saltus.report.html.step_scale import StepScale

_TILE = 0.92  # of the distance between two
_MOST_LABELS = 30  # of rows

Span = tuple[int, int]
"""The steps of the first colour and of the last one."""


def find_span(found: Sequence[Emergence]) -> Span:
    """From the earliest left end to the latest right end of an interval in which anything emerged; 0 twice if none."""
    ends = [(max(emergence.after, 0), emergence.by) for emergence in found if emergence.by is not None]
    return (min(after for after, _ in ends), max(by for _, by in ends)) if ends else (0, 0)


def tone_of(emergence: Emergence, span: Span) -> Colour:
    """The colour of an emergence's tile; grey if it is censored."""
    if emergence.by is None:
        return NEUTRAL
    return tone((emergence.by - span[0]) / max(1, span[1] - span[0]))


def draw_raster(
    found: Sequence[Emergence],
    scale: StepScale,
    *,
    whole: str = "",
    labels: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    span: Span | None = None,
) -> Figure:
    """The left half of a tile has the colour of the last step without a unit, the right half that of the first with it.

    A wide interval is a tile of two colours. Hatching is where there is none; what is not in `found` stays empty.

    The unit `whole` is set apart. `labels` stand under the columns and `texts` where a tile is pointed at, in place of
    the names of units; both must be escaped. `span` is that of the colours, if not all of `found`.
    """
    runs = list_runs(found)
    units = [unit for unit in dict.fromkeys(emergence.key.unit for emergence in found) if unit != whole]
    columns = {unit: float(column) for column, unit in enumerate(units)}
    if len(units) < len({emergence.key.unit for emergence in found}):
        columns[whole] = len(units) + 0.4
    short = {unit: protect(shorten(unit)) for unit in columns} | dict(labels or {})
    long = short | dict(texts or {})
    names = dict(zip(runs, name_runs(runs), strict=True))
    rows = {run: row for row, run in enumerate(runs)}
    tiles = [
        (
            rows[e.key[:2]],
            columns[e.key.unit],
            e,
            f"{names[e.key[:2]]}, {long[e.key.unit]}: {describe_emergence(e)}",
        )
        for e in found
    ]
    traces = [_draw_tiles(tiles, len(runs), [columns[unit] for unit in units], "units", scale)]
    if whole in columns:
        traces.append(_draw_tiles(tiles, len(runs), [columns[whole]], "whole", scale))
    empty = [tile for tile in tiles if tile[2].censored]
    lost = [tile for tile in tiles if tile[2].lost is not None]
    if empty:
        hatch = {"shape": "/", "size": 7, "solidity": 0.18, "fillmode": "overlay", "fgcolor": "#888"}
        traces.append(
            {"type": "bar", "name": f"not {describe_end(found)} (censored)", "width": _TILE, "showlegend": True}
            | {"y": [_TILE] * len(empty), "base": [row - _TILE / 2 for row, *_ in empty]}
            | {"marker": {"color": "rgba(128,128,128,0.10)", "pattern": hatch}}
            | _point_at(empty)
        )
    if lost:
        cross = {"symbol": "x", "size": 9, "color": "#fff", "line": {"color": "#000", "width": 1}}
        traces.append(
            {"type": "scatter", "mode": "markers", "name": "lost at least once after", "showlegend": True}
            | {"y": [row for row, *_ in lost], "marker": cross}
            | _point_at(lost)
        )
    first, last = span or find_span(found)
    light, dark = colour_scales()
    bar: dict[str, Any] = {"title": {"text": "step", "side": "right"}, "thickness": 12, "len": 1.0, "outlinewidth": 0}
    bar |= {"nticks": max(2, 2 * len(runs))}
    if scale.log:
        bar |= StepScale(last, log=True).tick(first)
    limits = {"cmin": float(scale.place(first)), "cmax": float(scale.place(last))}
    bare = {"showgrid": False, "zeroline": False, "ticks": "", "showline": False}
    labelled = list(range(0, len(runs), 1 + max(0, len(runs) - 1) // _MOST_LABELS))
    end = max(columns.values(), default=0.0)
    beneath = 5 * max((len(name) for name in short.values()), default=0)  # pixels of the slanted names of columns
    return compose(
        traces,
        height=int(np.clip(120 + 30 * len(runs), 230, 1000)) + max(0, beneath - 40),
        meta={"light": light, "dark": dark},
        coloraxis=limits | {"colorscale": light, "colorbar": bar, "showscale": first < last},
        xaxis=bare
        | {"tickvals": list(columns.values()), "ticktext": [short[unit] for unit in columns]}
        | {"range": [-0.6, end + 0.6], "tickangle": -45, "automargin": True},
        yaxis=bare
        | {"tickvals": labelled, "ticktext": [names[runs[row]].removeprefix("seed ") for row in labelled]}
        | {"range": [len(runs) - 0.4, -0.6], "title": {"text": "seed"}, "automargin": True},
        barmode="overlay",
        legend=legend_above(),
    )


_Tile = tuple[int, float, Emergence, str]
"""Row, column, what emerged, and the text where it is pointed at."""


def _draw_tiles(tiles: Sequence[_Tile], rows: int, columns: Sequence[float], name: str, scale: StepScale) -> Trace:
    """The tiles of some columns, each as two cells, in colours; a third cell without a value is the gap between two."""
    place = {column: 3 * index for index, column in enumerate(columns)}
    values = np.full((rows, 3 * len(columns)), np.nan)
    texts = [[""] * (3 * len(columns)) for _ in range(rows)]
    for row, column, emergence, text in tiles:
        if column in place:
            cell = place[column]
            texts[row][cell : cell + 2] = [text, text]
            if emergence.by is not None:
                values[row, cell : cell + 2] = scale.place([max(emergence.after, 0), emergence.by])
    edges = [column + shift for column in columns for shift in (-_TILE / 2, 0.0, _TILE / 2)]
    trace: Trace = {"type": "heatmap", "name": name, "coloraxis": "coloraxis", "ygap": 2}
    trace |= {"x": [*edges, columns[-1] + 1.0 - _TILE / 2] if columns else [], "y": list(range(rows))}
    return trace | {"z": values, "text": texts, "hoverinfo": "text", "hoverongaps": False}


def _point_at(tiles: Sequence[_Tile]) -> Trace:
    return {
        "x": [column for _, column, *_ in tiles],
        "hovertext": [text for *_, text in tiles],
        "hoverinfo": "text",
    }
