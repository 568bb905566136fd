"""The parts that figures are made of: traces, axes, and one look."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from saltus.report.html.labels import protect
from saltus.report.html.palette import LINES, NEUTRAL, STRONG, themed
from saltus.report.html.step_scale import StepScale

Trace = dict[str, Any]
Colour = tuple[str, str]
"""For light and for dark pages."""

_DASHES = ("solid", "dash", "dot", "longdash", "dashdot", "longdashdot")
_MOST_POINTS = 400  # of a line; longer ones are thinned


def compose(traces: Sequence[Trace], **layout: Any) -> go.Figure:
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
    return go.Figure({"data": list(traces), "layout": common | layout})


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title, of any text, which makes room for its labels."""
    return {"title": {"text": protect(title)}, "zeroline": False, "automargin": True} | more


def legend_above() -> dict[str, Any]:
    """A legend in lines above the plot."""
    return {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}


def scatter(
    x: ArrayLike | Sequence[float | None],
    y: ArrayLike | Sequence[float | None],
    name: str,
    colour: Colour,
    *,
    mode: str = "lines",
    line: dict[str, Any] | None = None,
    marker: dict[str, Any] | None = None,
    **more: Any,
) -> Trace:
    """Points, joined or not, in a colour that follows the theme of the page. Texts must be escaped."""
    trace: Trace = {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y}
    trace |= {"meta": themed(*colour) | more.pop("meta", {}), "line": {"color": colour[0]} | (line or {})}
    return trace | {"marker": {"color": colour[0]} | (marker or {})} | more


def trace_steps(
    steps: NDArray[np.int64], values: NDArray[np.float64], name: str, colour: Colour, scale: StepScale, **more: Any
) -> Trace:
    """A line over training, thinned where it is long, whose name and values are shown where it is pointed at."""
    kept = thin(len(steps), _MOST_POINTS)
    x = steps[kept]
    trace = scatter(scale.place(x) if scale.log else x, _shorten(values[kept]), name, colour, **more)
    if scale.log:
        trace |= {"customdata": x}
    step = "%{customdata:,}" if scale.log else "%{x:,}"
    return {"hovertemplate": f"%{{fullData.name}}: %{{y:.3f}} at {step}<extra></extra>"} | trace


def draw_spans(
    name: str, spans: Sequence[tuple[float, float, float]], colour: Colour, width: float = 2.5, opacity: float = 1.0
) -> Trace:
    """Vertical bars, each a place with its lower and its upper end."""
    x = [place for x, *_ in spans for place in (x, x, None)]
    y = [place for _, low, high in spans for place in (low, high, None)]
    return scatter(x, y, name, colour, line={"width": width}, opacity=opacity, hoverinfo="skip", showlegend=False)


def level(ends: ArrayLike, value: float, name: str, colour: Colour = NEUTRAL, dash: str = "dash") -> Trace:
    """A line at one value, such as chance, between two ends."""
    return scatter(ends, [value, value], name, colour, line={"width": 1.4, "dash": dash}, hoverinfo="name")


def colour_line(index: int, count: int) -> tuple[Colour, str]:
    """Colour and dash of one of several lines; all have one colour where there are many."""
    if count > 2 * len(LINES):
        return LINES[0], "solid"
    return LINES[index % len(LINES)], "solid" if index < len(LINES) else "dashdot"


def name_dash(index: int) -> str:
    """The dash of one of several lines that colour alone would tell apart."""
    return _DASHES[index % len(_DASHES)]


def thin(count: int, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` of `count` things, spread evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _shorten(values: NDArray[np.float64]) -> NDArray[np.floating]:
    """As float32, which is half the size and has more digits than a screen shows, where it can hold the values."""
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    return short if (np.isinf(short) == np.isinf(values)).all() else values
