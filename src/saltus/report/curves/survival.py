"""Survival curves of groups of seeds or units, with how many of each are still at risk."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from plotly.graph_objects import Figure

from saltus.curves import Emergence
from saltus.measure.bootstrap import SeedBootstrap, bootstrap_emergences
from saltus.measure.groups import DRAWS
from saltus.measure.intervals import Floats
from saltus.measure.survival import times_of
from saltus.measure.turnbull import TurnbullEstimate
from saltus.report.curves.words import format_step, tell_limits
from saltus.report.html.drawing import Colour, Trace, axis, colour_line, compose, legend_above, name_dash, scatter
from saltus.report.html.labels import join, plural, protect, shorten
from saltus.report.html.step_scale import StepScale
from saltus.seeding import Streams

_ROW = 34.4
"""Pixels of a row of counts."""

_GAP = 47.3
"""Pixels between the counts and the curves, for the steps."""


@dataclass(frozen=True)
class Group:
    """The emergences behind one curve, at least one. Those of one seed stay together in the band."""

    name: str
    emergences: Sequence[Emergence]
    colour: Colour
    dash: str = "solid"

    @cached_property
    def boot(self) -> SeedBootstrap:
        """Turnbull's estimate with what the seeds allow."""
        return bootstrap_emergences(self.emergences, Streams(0).generator("bootstrap"), DRAWS)


def list_groups(found: Sequence[Emergence]) -> list[Group]:
    """A survival curve for each group of the emergences of one unit; seeds that were not watched say nothing of it."""
    names = list(dict.fromkeys(emergence.key.group for emergence in found))
    groups: list[Group] = []
    for index, name in enumerate(names):
        own = [e for e in found if e.key.group == name]
        watched = [e for e in own if not e.unwatched]
        groups.append(Group(name, watched or own, colour_line(index, len(names))[0], name_dash(index)))
    return groups


def draw_survival(groups: Sequence[Group], scale: StepScale) -> Figure:
    """Share without it, with bands; how many are at risk beneath. A line is straight where nothing is known."""
    one = len(groups) == 1
    traces = [trace for group in groups for trace in _draw_band(group, scale, one)]
    for group in groups:
        steps, survival = _list_corners(group.boot.estimate, scale.end)
        name = protect(shorten(group.name))
        traces.append(
            scatter(scale.place(steps), survival.astype(np.float32), name, group.colour, legendgroup=name)
            | {"line": {"color": group.colour[0], "width": 2.2, "dash": group.dash}}
            | {"customdata": steps}
            | {"hovertemplate": "%{fullData.name}: %{y:.3f} at %{customdata:,}<extra></extra>"}
        )
    traces += [_count_at_risk(row, group, scale) for row, group in enumerate(groups)]
    height = 430 + _ROW * max(0, len(groups) - 2)
    beneath = _ROW * len(groups) / height
    return compose(
        traces,
        height=height,
        xaxis=scale.axis | {"anchor": "y2"},
        yaxis=axis("share not yet there", range=[-0.03, 1.05], tickformat=".0%")
        | {"domain": [beneath + _GAP / height, 1.0]},
        yaxis2=axis("at risk", showgrid=False, ticks="outside", ticklen=10, tickcolor="rgba(0,0,0,0)", showline=False)
        | {"domain": [0.0, beneath], "range": [len(groups) - 0.4, -0.6], "tickvals": list(range(len(groups)))}
        | {"ticktext": [protect(shorten(group.name, 14)) for group in groups]},
        legend=legend_above(),
    )


def caption_survival(groups: Sequence[Group], what: str = "it") -> str:
    """By which step half of each group were there, and what its seeds cannot tell; `what` names the unit."""
    medians = [(group.boot.quantile(), group) for group in groups]
    reached = [
        f"{format_step(median)} ({shorten(g.name)}, {plural(g.boot.seeds, 'seed')})"
        for median, g in medians
        if median.value != np.inf
    ]
    unreached = [
        f"{shorten(g.name)} ({plural(g.boot.seeds, 'seed')}, median after step {median.lower:,.0f})"
        for median, g in medians
        if median.value == np.inf
    ]
    text = f"Share still without {what}. "
    text += f"Half were there by step {join(reached, most=9)}. " if reached else ""
    text += f"Fewer than half were there in the end: {join(unreached, most=9)}. " if unreached else ""
    text += (
        "Brackets and bands are 95% limits, bands for each step on its own, from a bootstrap over seeds, in which "
        "everything of a seed stays together. The line is Turnbull's estimate: it runs straight from the last step "
        "without to the first step with, between which nothing is known. "
    )
    return text + tell_limits(min(group.boot.seeds for group in groups))


def _list_corners(estimate: TurnbullEstimate, end: int) -> tuple[Floats, Floats]:
    """Steps and shares without, from 1 at step 0 to the last step at which the share is known."""
    left, right = np.maximum(estimate.left, 0.0), estimate.right
    after = 1.0 - np.cumsum(estimate.mass)
    before = after + estimate.mass
    known = np.isfinite(right)
    steps = np.concatenate([[0.0], np.stack([left, right], axis=1)[known].ravel(), left[~known]])
    shares = np.concatenate([[1.0], np.stack([before, after], axis=1)[known].ravel(), before[~known]])
    return (steps, shares) if len(left[~known]) else (np.append(steps, end), np.append(shares, shares[-1]))


def _draw_band(group: Group, scale: StepScale, one: bool) -> list[Trace]:
    """Limits change at ends of cells alone: the upper one holds from an end on, the lower one up to an end."""
    cells = [group.boot.soonest, group.boot.latest]
    ends = np.concatenate([[0.0, scale.end], *(side for cell in cells for side in (cell.left, cell.right))])
    band = group.boot.band(np.unique(ends[(ends >= 0.0) & (ends <= scale.end)]))
    name = "band" if one else protect(shorten(group.name))
    common: Trace = {"type": "scatter", "mode": "lines", "x": scale.place(band.steps), "hoverinfo": "skip"}
    common |= {"legendgroup": name}
    fill = {"fill": "tonexty", "fillcolor": _make_transparent(group.colour[1], 0.22 if one else 0.12)}
    return [
        common | {"y": band.upper, "name": "upper end", "showlegend": False, "line": {"width": 0, "shape": "hv"}},
        common
        | {"y": band.lower, "name": f"{band.level:.0%} band", "showlegend": one, "line": {"width": 0, "shape": "vh"}}
        | fill,
    ]


def _count_at_risk(row: int, group: Group, scale: StepScale) -> Trace:
    times, _ = times_of(group.emergences)
    counts = [str(int((times >= tick).sum())) for tick in scale.ticks]
    place = {"cliponaxis": False, "yaxis": "y2", "hoverinfo": "skip", "showlegend": False}
    font = {"textfont": {"color": group.colour[0], "size": 12}}
    rows = np.full(len(counts), row)
    return scatter(scale.place(scale.ticks), rows, "at risk", group.colour, mode="text", text=counts) | font | place


def _make_transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
