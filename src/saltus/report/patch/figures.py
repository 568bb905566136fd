"""Figures of one patch."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.lm.patching.effects import SetEffect
from saltus.report.html.drawing import Colour, Trace, axis, compose, draw_spans, legend_above, level, scatter
from saltus.report.html.labels import protect, shorten
from saltus.report.html.palette import LINES, NEUTRAL, STRONG, diverging_scales, themed
from saltus.report.patch.summary import PatchResult, format_change, format_share, list_heads, name_head

_NAMED = 5  # heads that are named beside their points
_MOST_LINES = 32  # single prompts in the trajectory


def draw_jump(result: PatchResult) -> go.Figure:
    """Target probability at the checkpoints around the jump, evenly spaced; recipient and donor are marked."""
    spec, (steps, values) = result.records.spec, arrange_jump(result)
    x, span = np.arange(len(steps)), [-0.4, len(steps) - 0.6]
    traces = [
        scatter(x, values[:, prompt].astype(np.float32), "one prompt", NEUTRAL, line={"width": 1}, opacity=0.35)
        | {"hovertemplate": f"prompt {prompt}: %{{y:.3f}}<extra></extra>"}
        | {"legendgroup": "prompts", "showlegend": prompt == 0}
        for prompt in range(min(values.shape[1], _MOST_LINES))
    ]
    mean = scatter(x, values.mean(axis=1), "mean over the prompts", STRONG, mode="lines+markers", line={"width": 2.6})
    traces.append(mean | {"hovertemplate": "mean %{y:.3f}<extra></extra>"})
    marks = [("recipient", spec.recipient, result.recipient, LINES[1], "circle")]
    if has_own_donor(result):
        marks.append(("donor", spec.donor, result.donor, LINES[0], "diamond"))
    else:
        name = f"donor: seed {shorten(spec.donor_seed or '', 12)}, step {spec.donor:,}"
        traces.append(level(span, result.donor, protect(name), LINES[0]))
    for name, step, probability, colour, symbol in marks:
        mark = {"symbol": symbol, "size": 13}
        point = scatter([steps.index(step)], [probability], name, colour, mode="markers", marker=mark)
        traces.append(point | {"hovertemplate": f"{name}: %{{y:.3f}}<extra></extra>"})
    return compose(
        traces,
        height=360,
        xaxis=axis("step (checkpoints evenly spaced)", tickvals=x, ticktext=[f"{s:,}" for s in steps], range=span),
        yaxis=axis("probability of the target", range=[-0.03, 1.05]),
        legend=legend_above(),
    )


def arrange_jump(result: PatchResult) -> tuple[list[int], NDArray[np.float64]]:
    """Measured steps of the recipient's run, and the target's probability there [step, prompt]."""
    spec, prompts, trajectory = (result.records.spec, result.records.prompts, result.records.trajectory)
    own = {spec.recipient: prompts["recipient"].to_numpy()}
    if has_own_donor(result):
        own[spec.donor] = prompts["donor"].to_numpy()
    steps = sorted({*trajectory["step"].to_pylist(), *own})
    values = np.full((len(steps), len(prompts)), np.nan)
    row = np.searchsorted(steps, trajectory["step"].to_numpy())
    values[row, trajectory["prompt"].to_numpy()] = trajectory["probability"].to_numpy()
    for step, probability in own.items():
        values[steps.index(step)] = probability
    return steps, values


def has_own_donor(result: PatchResult) -> bool:
    """Whether the donor is a checkpoint of the recipient's run."""
    spec = result.records.spec
    return spec.donor_seed in (None, spec.seed)


def draw_map(result: PatchResult, kind: str, limit: float) -> go.Figure:
    """Layers by heads: the mean effect of one kind, in colours from -limit to limit."""
    values = result.maps[kind]
    layers, heads = values.shape
    light, dark = diverging_scales()
    text = [["not measured"] * heads for _ in range(layers)]
    for found in result.effects.heads:
        if found.kind == kind:
            name = name_head(found.layer, found.head)
            text[found.layer][found.head] = f"{name}: {format_change(found.effect)}"
    trace: Trace = {"type": "heatmap", "name": kind, "z": values, "text": text, "hoverinfo": "text"}
    trace |= {"coloraxis": "coloraxis", "xgap": 1, "ygap": 1, "x": list(range(heads)), "y": list(range(layers))}
    bare = {"showgrid": False, "zeroline": False, "ticks": "", "showline": False, "fixedrange": True}
    return compose(
        [trace],
        height=int(np.clip(62 + 15 * layers, 130, 440)),
        meta={"light": light, "dark": dark},
        coloraxis={"cmin": -limit, "cmax": limit, "colorscale": light, "showscale": False},
        xaxis=bare | {"title": {"text": "head", "standoff": 4}, "tickangle": 0} | _number(heads),
        yaxis=bare | {"title": {"text": "layer", "standoff": 4}} | _number(layers),
        margin={"l": 42, "r": 4, "t": 4, "b": 40},
    )


def find_limit(result: PatchResult, kinds: tuple[str, ...]) -> float:
    """The largest mean effect of some kinds, upwards or downwards; 0 if there is none."""
    values = [np.abs(result.maps[kind]) for kind in kinds if kind in result.maps]
    known = [value[np.isfinite(value)].max() for value in values if np.isfinite(value).any()]
    return float(max(known, default=0.0))


def draw_shares(result: PatchResult) -> go.Figure:
    """Share of the gain that sets of heads recover: the best, those of the screen, random ones, all."""
    greedy, screened, drawn, everything = (result.sets(kind) for kind in ("greedy", "screen", "random", "all"))
    sizes = sorted({len(found.heads) for found in (*greedy, *screened, *drawn)})
    place = {size: float(index) for index, size in enumerate(sizes)}
    traces: list[Trace] = []
    for name, sets, colour, shift in (
        ("best set found", greedy, LINES[0], -0.27),
        ("first of the screen", screened, LINES[4], 0.0),
    ):
        if sets:
            traces += _draw_bars(name, [place[len(found.heads)] + shift for found in sets], sets, colour)
    if everything:
        traces += _draw_bars("all heads", [float(len(sizes))], everything[:1], LINES[2])
    if drawn:
        jitter = 0.27 + np.linspace(-0.07, 0.07, len(drawn))
        x = [place[len(found.heads)] + shift for found, shift in zip(drawn, jitter, strict=True)]
        shares, texts = [found.share.estimate for found in drawn], [list_heads(found) for found in drawn]
        dots = {"symbol": "circle-open", "size": 6}
        name = "random heads, a dot for each draw"
        trace = scatter(x, shares, name, LINES[1], mode="markers", marker=dots, text=texts)
        traces.append(trace | {"hovertemplate": "random %{text}: %{y:.1%}<extra></extra>"})
    names = [str(size) for size in sizes] + (["all"] if everything else [])
    span = [-0.6, len(names) - 0.4]
    traces.append(level(span, 1.0, "donor") | {"showlegend": False})
    return compose(
        traces,
        height=380,
        xaxis=axis("heads whose patterns are replaced", ticktext=names, range=span, showgrid=False)
        | {"tickvals": list(range(len(names)))},
        yaxis=axis("share of the gain recovered", tickformat=".0%") | {"zeroline": True},
        legend=legend_above(),
        barmode="overlay",
    )


def draw_screen(result: PatchResult) -> go.Figure:
    """The first-order estimate of each head against its exact effect, beside the line of agreement."""
    exact, estimated = result.maps["patch"], result.estimates
    known = np.argwhere(np.isfinite(exact) & np.isfinite(estimated))
    order = sorted(known.tolist(), key=lambda place: -abs(exact[tuple(place)]))
    x = [float(estimated[layer, head]) for layer, head in order]
    y = [float(exact[layer, head]) for layer, head in order]
    named = [i < _NAMED and abs(y[i]) >= 0.2 * abs(y[0]) > 0.0 for i in range(len(order))]
    ends = [min([*x, *y, 0.0]), max([*x, *y, 0.0])]
    equal = scatter(ends, ends, "equal", NEUTRAL, line={"width": 1.2, "dash": "dash"}, hoverinfo="skip")
    dots = scatter(x, y, "a head", LINES[0], mode="markers+text", marker={"size": 8, "opacity": 0.75})
    dots |= {"customdata": [name_head(layer, head) for layer, head in order], "textposition": "top center"}
    dots |= {"text": [f"{a}.{b}" if shown else "" for (a, b), shown in zip(order, named, strict=True)]}
    dots |= {"hovertemplate": "%{customdata}: estimated %{x:+.3~g}, exact %{y:+.3~g}<extra></extra>"}
    return compose(
        [equal, dots],
        height=400,
        xaxis=axis("first-order estimate", exponentformat="power") | {"zeroline": True},
        yaxis=axis("exact effect", exponentformat="power") | {"zeroline": True},
        legend=legend_above(),
    )


def _draw_bars(name: str, x: list[float], sets: list[SetEffect], colour: Colour) -> list[Trace]:
    """Bars with their bootstrap intervals as lines; ends without bound are left out."""
    ends = [
        [end if np.isfinite(end) else found.share.estimate for end in (found.share.lower, found.share.upper)]
        for found in sets
    ]
    whiskers = [(place, low, high) for place, (low, high) in zip(x, ends, strict=True)]
    bars: Trace = {"type": "bar", "name": name, "x": x, "y": [found.share.estimate for found in sets], "width": 0.24}
    bars |= {"meta": themed(*colour), "marker": {"color": colour[0]}, "opacity": 0.85, "textposition": "none"}
    bars |= {"text": [f"{list_heads(found)}: {format_share(found.share)}" for found in sets]}
    bars |= {"hovertemplate": "%{text}<extra></extra>"}
    return [bars, draw_spans("interval", whiskers, STRONG, width=1.6)]


def _number(count: int) -> dict[str, Any]:
    """Ticks of an axis of so many places."""
    every = next(gap for gap in (1, 2, 5, 10, 20, 50, 100, 200, 500) if count <= 6 * gap or gap == 500)
    shown = list(range(0, count, every))
    return {"tickvals": shown, "ticktext": [str(number) for number in shown]}
