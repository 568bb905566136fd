"""Figures of one patch study."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.lm.patching.effects import SetEffect
from saltus.report.html.drawing import Trace, axis, compose, legend_above
from saltus.report.html.labels import protect, shorten
from saltus.report.html.palette import LINES, NEUTRAL, STRONG, diverging_scales, themed
from saltus.report.patch.summary import PatchStudy, format_change, format_share, list_heads, name_head

_NAMED = 5  # heads that are named beside their points
_MOST_LINES = 32  # single prompts in the trajectory


def draw_jump(study: PatchStudy) -> go.Figure:
    """Target probability at the checkpoints around the jump, evenly spaced; recipient and donor are marked."""
    spec, prompts = study.records.spec, study.records.prompts
    steps, values = arrange_jump(study)
    x = np.arange(len(steps))
    traces: list[Trace] = [
        {"type": "scatter", "mode": "lines", "name": "one prompt", "x": x, "y": values[:, prompt].astype(np.float32)}
        | {"line": {"color": NEUTRAL[0], "width": 1}, "meta": themed(*NEUTRAL), "opacity": 0.35}
        | {"hovertemplate": f"prompt {prompt}: %{{y:.3f}}<extra></extra>"}
        | {"legendgroup": "prompts", "showlegend": prompt == 0}
        for prompt in range(min(len(prompts), _MOST_LINES))
    ]
    traces.append(
        {"type": "scatter", "mode": "lines+markers", "name": "mean over the prompts", "x": x}
        | {"y": values.mean(axis=1), "meta": themed(*STRONG), "hovertemplate": "mean %{y:.3f}<extra></extra>"}
        | {"line": {"color": STRONG[0], "width": 2.6}, "marker": {"color": STRONG[0], "size": 5}}
    )
    traces.append(_mark("recipient", steps.index(spec.recipient), study.recipient, LINES[1], "circle"))
    if has_own_donor(study):
        traces.append(_mark("donor", steps.index(spec.donor), study.donor, LINES[0], "diamond"))
    else:
        name = f"donor: seed {shorten(spec.donor_seed or '', 12)}, step {spec.donor:,}"
        traces.append(_level([-0.4, len(steps) - 0.6], study.donor, protect(name), LINES[0]))
    return compose(
        traces,
        height=360,
        xaxis=axis("step (checkpoints evenly spaced)")
        | {"tickvals": x, "ticktext": [f"{step:,}" for step in steps], "range": [-0.4, len(steps) - 0.6]},
        yaxis=axis("probability of the target") | {"range": [-0.03, 1.05]},
        legend=legend_above(),
    )


def arrange_jump(study: PatchStudy) -> tuple[list[int], NDArray[np.float64]]:
    """Measured steps of the recipient's run, and the target's probability there [step, prompt]."""
    spec, prompts, trajectory = (study.records.spec, study.records.prompts, study.records.trajectory)
    own = {spec.recipient: prompts["recipient"].to_numpy()}
    if has_own_donor(study):
        own[spec.donor] = prompts["donor"].to_numpy()
    steps = sorted({*trajectory["step"].to_pylist(), *own})
    values = np.full((len(steps), len(prompts)), np.nan)
    row = np.searchsorted(steps, trajectory["step"].to_numpy())
    values[row, trajectory["prompt"].to_numpy()] = trajectory["probability"].to_numpy()
    for step, probability in own.items():
        values[steps.index(step)] = probability
    return steps, values


def has_own_donor(study: PatchStudy) -> bool:
    """Whether the donor is a checkpoint of the recipient's run."""
    spec = study.records.spec
    return spec.donor_seed in (None, spec.seed)


def draw_map(study: PatchStudy, kind: str, limit: float) -> go.Figure:
    """Layers by heads: the mean effect of one kind, in colours from -limit to limit."""
    values = study.maps[kind]
    layers, heads = values.shape
    light, dark = diverging_scales()
    known = {
        (found.layer, found.head): f"{name_head(found.layer, found.head)}: {format_change(found.effect)}"
        for found in study.effects.heads
        if found.kind == kind
    }
    text = [[known.get((layer, head), "not measured") for head in range(heads)] for layer in range(layers)]
    trace: Trace = {"type": "heatmap", "name": kind, "z": values, "text": text, "hoverinfo": "text"}
    trace |= {"coloraxis": "coloraxis", "xgap": 1, "ygap": 1, "x": list(range(heads)), "y": list(range(layers))}
    ticks = {"showgrid": False, "zeroline": False, "ticks": "", "showline": False, "fixedrange": True}
    return compose(
        [trace],
        height=int(np.clip(62 + 15 * layers, 130, 440)),
        meta={"light": light, "dark": dark},
        coloraxis={"cmin": -limit, "cmax": limit, "colorscale": light, "showscale": False},
        xaxis=ticks | {"title": {"text": "head", "standoff": 4}, "tickangle": 0} | _integers(heads),
        yaxis=ticks | {"title": {"text": "layer", "standoff": 4}} | _integers(layers),
        margin={"l": 42, "r": 4, "t": 4, "b": 40},
    )


def find_limit(study: PatchStudy, kinds: tuple[str, ...]) -> float:
    """The largest mean effect of some kinds, upwards or downwards; 0 if there is none."""
    values = [np.abs(study.maps[kind]) for kind in kinds if kind in study.maps]
    known = [value[np.isfinite(value)].max() for value in values if np.isfinite(value).any()]
    return float(max(known, default=0.0))


def draw_shares(study: PatchStudy) -> go.Figure:
    """Share of the gain that sets of heads recover: the best, those of the screen, random ones, all."""
    greedy, screened, everything = (study.sets(kind) for kind in ("greedy", "screen", "all"))
    sizes = sorted({len(found.heads) for found in (*greedy, *screened, *study.sets("random"))})
    place = {size: index for index, size in enumerate(sizes)}
    last = len(sizes)
    traces: list[Trace] = []
    for name, sets, colour, shift in (
        ("best set found", greedy, LINES[0], -0.27),
        ("first of the screen", screened, LINES[4], 0.0),
    ):
        if sets:
            traces += _draw_bars(name, [place[len(found.heads)] + shift for found in sets], sets, colour)
    if everything:
        traces += _draw_bars("all heads", [last - 0.0], everything[:1], LINES[2])
    draws = [(place[len(found.heads)] + 0.27, found) for found in study.sets("random")]
    if draws:
        jitter = np.linspace(-0.07, 0.07, len(draws))
        traces.append(
            {"type": "scatter", "mode": "markers", "name": "random heads, a dot for each draw"}
            | {"x": [x + j for (x, _), j in zip(draws, jitter, strict=True)]}
            | {"y": [found.share.estimate for _, found in draws], "text": [list_heads(found) for _, found in draws]}
            | {"hovertemplate": "random %{text}: %{y:.1%}<extra></extra>", "meta": themed(*LINES[1])}
            | {"marker": {"color": LINES[1][0], "size": 6, "symbol": "circle-open"}}
        )
    names = [str(size) for size in sizes] + (["all"] if everything else [])
    span = [-0.6, len(names) - 0.4]
    traces.append(_level(span, 1.0, "donor", NEUTRAL) | {"showlegend": False})
    return compose(
        traces,
        height=380,
        xaxis=axis("heads whose patterns are replaced")
        | {"tickvals": list(range(len(names))), "ticktext": names, "range": span, "showgrid": False},
        yaxis=axis("share of the gain recovered") | {"tickformat": ".0%", "zeroline": True},
        legend=legend_above(),
        barmode="overlay",
    )


def draw_screen(study: PatchStudy) -> go.Figure:
    """The first-order estimate of each head against its exact effect, beside the line of agreement."""
    exact, estimated = study.maps["patch"], study.estimates
    known = np.argwhere(np.isfinite(exact) & np.isfinite(estimated))
    order = sorted(known.tolist(), key=lambda place: -abs(exact[tuple(place)]))
    x = [float(estimated[layer, head]) for layer, head in order]
    y = [float(exact[layer, head]) for layer, head in order]
    names = [name_head(layer, head) for layer, head in order]
    named = [i < _NAMED and abs(y[i]) >= 0.2 * abs(y[0]) > 0.0 for i in range(len(order))]
    ends = [min([*x, *y, 0.0]), max([*x, *y, 0.0])]
    line: Trace = {"type": "scatter", "mode": "lines", "name": "equal", "x": ends, "y": ends, "hoverinfo": "skip"}
    line |= {"meta": themed(*NEUTRAL), "line": {"color": NEUTRAL[0], "width": 1.2, "dash": "dash"}}
    dots: Trace = {"type": "scatter", "mode": "markers+text", "name": "a head", "x": x, "y": y, "customdata": names}
    dots |= {
        "text": [f"{a}.{b}" if shown else "" for (a, b), shown in zip(order, named, strict=True)],
        "textposition": "top center",
    }
    dots |= {"hovertemplate": "%{customdata}: estimated %{x:+.3f}, exact %{y:+.3f}<extra></extra>"}
    dots |= {"meta": themed(*LINES[0]), "marker": {"color": LINES[0][0], "size": 8, "opacity": 0.75}}
    return compose(
        [line, dots],
        height=400,
        xaxis=axis("first-order estimate") | {"zeroline": True},
        yaxis=axis("exact effect") | {"zeroline": True},
        legend=legend_above(),
    )


def _draw_bars(name: str, x: list[float], sets: list[SetEffect], colour: tuple[str, str]) -> list[Trace]:
    """Bars with their bootstrap intervals as lines; ends without bound are left out."""
    whisker: list[float | None] = []
    for found in sets:
        ends = [found.share.lower, found.share.upper]
        whisker += [*(end if np.isfinite(end) else found.share.estimate for end in ends), None]
    return [
        {"type": "bar", "name": name, "x": x, "y": [found.share.estimate for found in sets], "width": 0.24}
        | {"text": [f"{list_heads(found)}: {format_share(found.share)}" for found in sets], "textposition": "none"}
        | {"hovertemplate": "%{text}<extra></extra>", "meta": themed(*colour)}
        | {"marker": {"color": colour[0]}, "opacity": 0.85},
        {"type": "scatter", "mode": "lines", "name": "interval", "x": [v for p in x for v in (p, p, None)]}
        | {"y": whisker, "hoverinfo": "skip", "showlegend": False, "meta": themed(*STRONG)}
        | {"line": {"color": STRONG[0], "width": 1.6}},
    ]


def _mark(name: str, x: float, y: float, colour: tuple[str, str], symbol: str) -> Trace:
    trace: Trace = {"type": "scatter", "mode": "markers", "name": name, "x": [x], "y": [y], "meta": themed(*colour)}
    trace |= {"hovertemplate": f"{name}: %{{y:.3f}}<extra></extra>"}
    return trace | {"marker": {"color": colour[0], "symbol": symbol, "size": 13}}


def _level(x: list[float], y: float, name: str, colour: tuple[str, str]) -> Trace:
    trace: Trace = {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": [y, y], "hoverinfo": "name"}
    return trace | {"meta": themed(*colour), "line": {"color": colour[0], "width": 1.4, "dash": "dash"}}


def _integers(count: int) -> dict[str, Any]:
    every = next(gap for gap in (1, 2, 5, 10, 20, 50, 100, 200, 500) if count <= 6 * gap or gap == 500)
    shown = list(range(0, count, every))
    return {"tickvals": shown, "ticktext": [str(number) for number in shown]}
