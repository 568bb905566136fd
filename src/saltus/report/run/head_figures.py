"""Figures of what the heads of one run attend to."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.measure.alignment import best_head
from saltus.report.curves.raster import find_span, tone_of
from saltus.report.html.drawing import Trace, axis, compose, legend_above, level, scatter
from saltus.report.html.labels import protect, shorten
from saltus.report.html.palette import LINES, STRONG
from saltus.report.run.heads import chance_by_unit, heads_at_end
from saltus.report.run.summary import RunSummary, find_there
from saltus.train.records import RunRecords

_JUMP_EVALUATIONS = 12  # on either side of an emergence


def draw_jumps(records: RunRecords, summary: RunSummary, index: int) -> go.Figure:
    """Entropy and truth mass of each unit's best head around the unit's emergence, for the seed at `index`."""
    steps, every = records.evaluated_steps, records.spec.training.evaluate.every
    grid = every * np.arange(-_JUMP_EVALUATIONS, _JUMP_EVALUATIONS + 1)
    mass, entropy = (_merge_heads(records.cube("heads", name)[index]) for name in ("truth_mass", "entropy"))
    traces: list[Trace] = []
    for values, panel in ((entropy, {"xaxis": "x", "yaxis": "y"}), (mass, {"xaxis": "x2", "yaxis": "y2"})):
        place: dict[str, Any] = panel | {"showlegend": False}
        place |= {"hovertemplate": "%{fullData.name}: %{y:.3f} at %{x:,}<extra></extra>"}
        aligned: list[NDArray[np.float64]] = []
        for unit, emergence in enumerate(summary.seeds[index].units):
            if emergence.by is None:
                continue
            head = _best_at(mass, steps, emergence.by, unit)
            offset, value = steps - emergence.by, values[:, head, unit]
            near = np.abs(offset) <= grid[-1]
            aligned.append(np.interp(grid, offset, value, left=np.nan, right=np.nan))
            name, colour = protect(shorten(summary.units[unit])), tone_of(emergence, find_span(summary.found))
            traces.append(scatter(offset[near], value[near], name, colour, line={"width": 1.1}, opacity=0.55, **place))
        if aligned:
            stack = np.stack(aligned)
            enough = 2 * np.isfinite(stack).sum(axis=0) > len(stack)
            middle = np.nanmedian(stack[:, enough], axis=0)
            traces.append(scatter(grid[enough], middle, "median", STRONG, line={"width": 3.2}, **place))
    if traces:
        uniform = level(grid[[0, -1]], _chance_entropy(records), "uniform over the candidate keys")
        traces.append(uniform | {"showlegend": False})
    marks = [-10 * every, 0, 10 * every]
    offsets = axis("steps from the jump", range=[int(grid[0]), int(grid[-1])], tickvals=marks) | {"zeroline": True}
    offsets |= {"ticktext": [f"{mark:+,}" if mark else "0" for mark in marks]}
    nothing = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
    nothing |= {"text": f"Nothing emerged in seed {summary.seeds[index].seed}."}
    return compose(
        traces,
        height=340,
        xaxis=offsets | {"domain": [0.0, 0.44]},
        xaxis2=offsets | {"domain": [0.56, 1.0], "anchor": "y2"},
        yaxis=axis("", rangemode="tozero"),
        yaxis2=axis("", anchor="x2", range=[-0.03, 1.05], tickformat=".0%"),
        margin={"l": 44, "r": 12, "t": 32, "b": 48},
        annotations=[_title("entropy (nats)", 0.0), _title("mass on the true keys", 0.56)]
        + ([] if traces else [nothing]),
    )


def draw_overlap(records: RunRecords, summary: RunSummary) -> go.Figure:
    """Overlap of the best head with the truth at the end, a dot for each unit and seed, beside the chance level."""
    _, overlap = best_head(heads_at_end(records, "overlap"))  # [seed, unit]
    there = find_there(records)[:, -1]
    guess = "a candidate key whatever the content" if records.facts.varies else "the luckiest of as many random heads"
    names = [protect(shorten(unit)) for unit in summary.units]
    shift = np.linspace(-0.3, 0.3, len(overlap)) if len(overlap) > 1 else np.zeros(1)
    chance: Trace = {"type": "bar", "name": f"chance: {guess}", "x": np.arange(len(names)), "width": 0.86}
    chance |= {"y": chance_by_unit(records), "hovertemplate": "chance %{y:.2f}<extra></extra>"}
    traces = [chance | {"marker": {"color": "rgba(128,128,128,0.22)"}}]
    for shown, name, colour, symbol in (
        (there, "there at the end", LINES[0], "circle"),
        (~there, "not there at the end", LINES[1], "circle-open"),
    ):
        seed, unit = np.nonzero(shown)
        text = [f"seed {summary.seeds[s].seed}, {names[u]}" for s, u in zip(seed, unit, strict=True)]
        dots = scatter(unit + shift[seed], overlap[seed, unit], name, colour, mode="markers", text=text)
        dots["marker"] |= {"symbol": symbol, "size": 8 if len(overlap) <= 16 else 5}
        traces.append(dots | {"hovertemplate": "%{text}: %{y:.2f}<extra></extra>"})
    return compose(
        traces,
        height=380,
        xaxis=axis("", tickvals=np.arange(len(names)), ticktext=names, showgrid=False, ticks="", tickangle=-45)
        | {"range": [-0.6, len(names) - 0.4]},
        yaxis=axis("share of the true keys found", range=[-0.04, 1.06], tickformat=".0%"),
        legend=legend_above(),
    )


def _title(text: str, x: float) -> dict[str, Any]:
    """The title of a panel that begins at x."""
    place = {"xref": "paper", "yref": "paper", "x": x, "y": 1.0, "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "yshift": 6} | place


def _merge_heads(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[evaluation, layer, head, unit] -> [evaluation, head, unit]."""
    return values.reshape(len(values), -1, values.shape[-1])


def _best_at(mass: NDArray[np.float64], steps: NDArray[np.int64], step: int, unit: int) -> int:
    """The head with the most mass on a unit's true keys at a step; the first head where all are NaN."""
    index, _ = best_head(mass[int(np.searchsorted(steps, step))])
    return max(int(index[unit]), 0)


def _chance_entropy(records: RunRecords) -> float:
    """Entropy of attention that is uniform over the candidate keys, mean over the scored queries."""
    return float(np.log(np.maximum(1, records.facts.candidates[records.facts.scored].sum(axis=1))).mean())
