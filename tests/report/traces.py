"""What is in a figure. Plotly has no types."""

from typing import Any, cast

import plotly.graph_objects as go


def traces_of(figure: go.Figure) -> list[Any]:
    return list(cast("Any", figure).data)


def find_trace(figure: go.Figure, start: str) -> Any:
    """The one whose name starts so, and is no longer if there is such a one."""
    found = [trace for trace in traces_of(figure) if (trace.name or "").startswith(start)]
    (trace,) = [trace for trace in found if trace.name == start] or found
    return trace


def names_of(figure: go.Figure) -> list[str]:
    return [trace.name for trace in traces_of(figure)]


def layout_of(figure: go.Figure) -> Any:
    return cast("Any", figure).layout
