"""Survival curves of groups of seeds or units, with how many of each are still at risk."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from saltus.curves import Emergence
from saltus.measure.survival import SurvivalCurve, estimate_survival, times_of
from saltus.report.html.drawing import Trace, axis, compose, legend_above
from saltus.report.html.palette import themed
from saltus.report.html.step_scale import StepScale


@dataclass(frozen=True)
class Group:
    """What one curve is of."""

    name: str
    label: str
    """Short, for the line of those at risk."""
    emergences: Sequence[Emergence]
    colour: tuple[str, str]
    dash: str = "solid"
    banded: bool = True
    """Whether it has a confidence band."""


def draw_curves(groups: Sequence[Group], scale: StepScale) -> Figure:
    """Share without it, with bands; how many are at risk beneath. Names and labels must be escaped."""
    curves = [estimate_survival(*times_of(group.emergences)) for group in groups]
    one = sum(group.banded for group in groups) == 1
    traces: list[Trace] = []
    for group, curve in zip(groups, curves, strict=True):
        if group.banded:
            traces += _draw_band(group, curve, scale, one)
    for group, curve in zip(groups, curves, strict=True):
        steps, (survival,) = _extend(curve, scale.end, curve.survival)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": group.name,
                "legendgroup": group.name,
                "x": scale.place(steps),
                "y": survival.astype(np.float32),
                "customdata": steps.astype(np.int32),
                "hovertemplate": "%{fullData.name}: %{y:.3f} at %{customdata:,}<extra></extra>",
                "meta": themed(*group.colour),
                "line": {"shape": "hv", "color": group.colour[0], "width": 2.2, "dash": group.dash},
            }
        )
    traces += [_count_at_risk(row, group, scale) for row, group in enumerate(groups)]
    height = 430 + 28 * max(0, len(groups) - 2)
    beneath = 0.08 * len(groups) * 430 / height  # of the height
    return compose(
        traces,
        height=height,
        xaxis=scale.axis() | {"anchor": "y2"},
        yaxis=axis("share not yet there")
        | {"range": [-0.03, 1.05], "domain": [beneath + 0.11 * 430 / height, 1.0], "tickformat": ".0%"},
        yaxis2={"domain": [0.0, beneath], "range": [len(groups) - 0.4, -0.6], "tickvals": list(range(len(groups)))}
        | {"ticktext": [group.label for group in groups], "showgrid": False, "zeroline": False}
        | {"title": {"text": "at risk"}, "ticks": "", "showline": False, "automargin": True},
        legend=legend_above(),
    )


def _draw_band(group: Group, curve: SurvivalCurve, scale: StepScale, one: bool) -> list[Trace]:
    steps, (lower, upper) = _extend(curve, scale.end, curve.lower, curve.upper)
    common: Trace = {
        "type": "scatter",
        "mode": "lines",
        "x": scale.place(steps),
        "line": {"width": 0, "shape": "hv"},
        "legendgroup": "band" if one else group.name,
        "hoverinfo": "skip",
    }
    fill = {"fill": "tonexty", "fillcolor": _make_transparent(group.colour[1], 0.22 if one else 0.12)}
    return [
        common | {"y": upper, "name": "upper end", "showlegend": False},
        common | {"y": lower, "name": f"{curve.level:.0%} band", "showlegend": one} | fill,
    ]


def _count_at_risk(row: int, group: Group, scale: StepScale) -> Trace:
    times, _ = times_of(group.emergences)
    return {
        "type": "scatter",
        "mode": "text",
        "name": "at risk",
        "x": scale.place(scale.ticks),
        "y": np.full(len(scale.ticks), row),
        "text": [str(int((times >= tick).sum())) for tick in scale.ticks],
        "textfont": {"color": group.colour[0], "size": 12},
        "meta": themed(*group.colour),
        "cliponaxis": False,
        "yaxis": "y2",
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _extend(curve: SurvivalCurve, end: int, *values: NDArray[np.float64]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """The curve up to the last step, which it may end before."""
    return np.append(curve.times, end), [np.append(value, value[-1]) for value in values]


def _make_transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
