"""Survival curves of groups of seeds or units, with how many of each are still at risk."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from saltus.curves import Emergence
from saltus.measure.survival import SurvivalCurve, estimate_survival, times_of
from saltus.report.html.drawing import Colour, Trace, axis, colour_line, compose, legend_above, scatter
from saltus.report.html.labels import join, protect, shorten
from saltus.report.html.step_scale import StepScale


@dataclass(frozen=True)
class Group:
    """The emergences behind one curve, at least one."""

    name: str
    emergences: Sequence[Emergence]
    colour: Colour
    dash: str = "solid"
    banded: bool = True
    """Whether it has a confidence band: not where units of one seed, which are not independent, are pooled."""

    @cached_property
    def curve(self) -> SurvivalCurve:
        """Kaplan-Meier estimate from the right ends of the intervals."""
        return estimate_survival(*times_of(self.emergences))


def list_groups(found: Sequence[Emergence]) -> list[Group]:
    """A survival curve for each group of the emergences of one unit."""
    names = list(dict.fromkeys(emergence.key.group for emergence in found))
    return [
        Group(name, [e for e in found if e.key.group == name], *colour_line(index, len(names)))
        for index, name in enumerate(names)
    ]


def draw_survival(groups: Sequence[Group], scale: StepScale) -> Figure:
    """Share without it, with bands; how many are at risk beneath."""
    one = sum(group.banded for group in groups) == 1
    traces = [trace for group in groups if group.banded for trace in _draw_band(group, scale, one)]
    for group in groups:
        steps, (survival,) = _extend(group.curve, scale.end, group.curve.survival)
        name = protect(shorten(group.name))
        traces.append(
            scatter(scale.place(steps), survival.astype(np.float32), name, group.colour, legendgroup=name)
            | {"line": {"shape": "hv", "color": group.colour[0], "width": 2.2, "dash": group.dash}}
            | {"customdata": steps.astype(np.int32)}
            | {"hovertemplate": "%{fullData.name}: %{y:.3f} at %{customdata:,}<extra></extra>"}
        )
    traces += [_count_at_risk(row, group, scale) for row, group in enumerate(groups)]
    height = 430 + 28 * max(0, len(groups) - 2)
    beneath = 0.08 * len(groups) * 430 / height  # of the height
    return compose(
        traces,
        height=height,
        xaxis=scale.axis | {"anchor": "y2"},
        yaxis=axis("share not yet there", range=[-0.03, 1.05], tickformat=".0%")
        | {"domain": [beneath + 0.11 * 430 / height, 1.0]},
        yaxis2=axis("at risk", showgrid=False, ticks="outside", ticklen=10, tickcolor="rgba(0,0,0,0)", showline=False)
        | {"domain": [0.0, beneath], "range": [len(groups) - 0.4, -0.6], "tickvals": list(range(len(groups)))}
        | {"ticktext": [protect(shorten(group.name, 14)) for group in groups]},
        legend=legend_above(),
    )


def caption_survival(groups: Sequence[Group], what: str = "it") -> str:
    """By which step half of each group were there; `what` names the unit."""
    reached = [f"{g.curve.median:,.0f} ({shorten(g.name)})" for g in groups if g.curve.median is not None]
    unreached = [shorten(group.name) for group in groups if group.curve.median is None]
    text = f"Share still without {what}. "
    text += f"Half were there by step {join(reached, most=9)}. " if reached else ""
    text += f"Fewer than half were there in the end: {join(unreached, most=9)}. " if unreached else ""
    text += (
        f"The Kaplan-Meier band is {groups[0].curve.level:.0%} for each step on its own. What is without it at its "
        "last evaluation leaves the count of those at risk there, and the curve does not fall."
    )
    if not all(group.banded for group in groups):
        text += " Pooled units have no band, because those of one seed are not independent of each other."
    return text


def _draw_band(group: Group, scale: StepScale, one: bool) -> list[Trace]:
    curve = group.curve
    steps, (lower, upper) = _extend(curve, scale.end, curve.lower, curve.upper)
    common: Trace = {"type": "scatter", "mode": "lines", "x": scale.place(steps), "hoverinfo": "skip"}
    common |= {"line": {"width": 0, "shape": "hv"}, "legendgroup": "band" if one else protect(shorten(group.name))}
    fill = {"fill": "tonexty", "fillcolor": _make_transparent(group.colour[1], 0.22 if one else 0.12)}
    return [
        common | {"y": upper, "name": "upper end", "showlegend": False},
        common | {"y": lower, "name": f"{curve.level:.0%} band", "showlegend": one} | fill,
    ]


def _count_at_risk(row: int, group: Group, scale: StepScale) -> Trace:
    times, _ = times_of(group.emergences)
    counts = [str(int((times >= tick).sum())) for tick in scale.ticks]
    place = {"cliponaxis": False, "yaxis": "y2", "hoverinfo": "skip", "showlegend": False}
    font = {"textfont": {"color": group.colour[0], "size": 12}}
    rows = np.full(len(counts), row)
    return scatter(scale.place(scale.ticks), rows, "at risk", group.colour, mode="text", text=counts) | font | place


def _extend(curve: SurvivalCurve, end: int, *values: NDArray[np.float64]) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """The curve up to the last step, which it may end before."""
    return np.append(curve.times, end), [np.append(value, value[-1]) for value in values]


def _make_transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
