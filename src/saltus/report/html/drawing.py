"""The parts that figures are made of: traces, axes, and one look."""

from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.curves import Emergence
from saltus.report.html.palette import NEUTRAL, STRONG, themed, tone
from saltus.report.run.summary import RunSummary

Trace = dict[str, Any]


def compose(traces: list[Trace], **layout: Any) -> go.Figure:
    """Traces as a figure without a background, in the fonts of the page."""
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


def axis(title: str) -> dict[str, Any]:
    """An axis with a title, which makes room for its labels."""
    return {"title": {"text": title}, "zeroline": False, "automargin": True}


def step_axis(summary: RunSummary) -> dict[str, Any]:
    """The axis of training steps, from 0 to the last evaluation."""
    return axis("step") | {"range": [-0.01 * summary.end, 1.015 * summary.end], "tickformat": ","}


def legend_above() -> dict[str, Any]:
    """A legend in lines above the plot."""
    return {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}


def label_units(summary: RunSummary) -> list[str]:
    """Names of the units, escaped, since plotly reads some HTML in its texts."""
    return [escape(unit.name, quote=False) for unit in summary.units]


def line(x: NDArray[Any], y: NDArray[np.float64], name: str, meta: dict[str, Any] | None) -> Trace:
    """A line whose name and values are shown where it is pointed at."""
    values = y.astype(np.float32)  # half the size, and more digits than a screen shows
    trace: Trace = {"type": "scatter", "mode": "lines", "name": name, "x": x.astype(np.int32), "y": values}
    return trace | {"meta": meta, "hovertemplate": "%{fullData.name}: %{y:.3f} at %{x:,}<extra></extra>"}


def level(x: NDArray[Any], value: float, name: str, dash: str) -> Trace:
    """A grey line at one value, such as that of chance."""
    trace = line(x, np.full(len(x), value), name, themed(*NEUTRAL))
    return trace | {"line": {"color": NEUTRAL[0], "width": 1.4, "dash": dash}}


def tone_of(emergence: Emergence, summary: RunSummary) -> tuple[str, str]:
    """The colour of an emergence in the raster, for both themes; grey if it is censored."""
    if emergence.by is None:
        return NEUTRAL
    early, late = find_range(summary)
    return tone((emergence.by - early) / max(1, late - early))


def find_range(summary: RunSummary) -> tuple[int, int]:
    """The earliest and the latest step at which any unit, or the task, emerged; the last step twice if none did."""
    steps = [cell.by for seed in summary.seeds for cell in (*seed.units, seed.task) if cell.by is not None]
    return (min(steps), max(steps)) if steps else (summary.end, summary.end)
