"""The paper's figure: when a capability emerged against the size of the model, with what censoring does to it."""

import numpy as np
import plotly.graph_objects as go

from saltus.measure.scans import SizeSummary
from saltus.report.html.drawing import Trace, axis, compose, legend_above
from saltus.report.html.labels import name_seed, protect, shorten
from saltus.report.html.palette import LINES, NEUTRAL, themed
from saltus.report.html.step_scale import StepScale
from saltus.report.scan.figures import describe_interval, place_seeds
from saltus.report.scan.summary import CapabilityTraces, ScanSummary

_ASIDE = 0.36  # how far from the middle of a size its mean and its median are


def draw_sizes(summary: ScanSummary, capability: CapabilityTraces) -> go.Figure:
    """Steps to emergence against size: each seed with its interval, the paper's mean, the median with its band."""
    scale = StepScale(summary.end, log=True)
    end = float(scale.place(summary.end)) or 1.0
    above = end + 0.3  # where seeds are that did not get there
    seeds = [
        (index + shift, trace.seed, trace.whole.emergence)
        for index, traces in enumerate(capability.traces)
        for shift, trace in zip(place_seeds(len(traces)), traces, strict=True)
        if trace.whole
    ]
    emerged = [(x, seed, found, found.by) for x, seed, found in seeds if found.by is not None]
    censored = [(x, seed, found) for x, seed, found in seeds if found.by is None]
    bars = [(x, float(scale.place(max(found.after, 0))), float(scale.place(by))) for x, _, found, by in emerged]
    traces: list[Trace] = [
        _draw_bars("last step without to first step with", bars, LINES[0], 2.5, 0.45),
        _mark("a seed", [x for x, *_ in emerged], [float(scale.place(by)) for *_, by in emerged], LINES[0], "circle")
        | {"text": [f"{protect(name_seed(seed))}: {describe_interval(found)}" for _, seed, found, _ in emerged]},
        _mark("a seed without it", [x for x, *_ in censored], [above] * len(censored), LINES[1], "triangle-up-open")
        | {"text": [f"{protect(name_seed(seed))}: {describe_interval(found)}" for _, seed, found in censored]},
        *_draw_means(capability.sizes, scale),
        *_draw_medians(capability.sizes, scale, above),
    ]
    last: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "last step",
        "x": [-0.6, len(summary.sizes) - 0.4],
        "y": [end, end],
        "hoverinfo": "skip",
        "showlegend": False,
        "meta": themed(*NEUTRAL),
        "line": {"color": NEUTRAL[0], "width": 1.2, "dash": "dot"},
    }
    first = min((max(found.after, 0) for _, _, found, _ in emerged), default=0)
    low = float(scale.place(first // 2)) if first >= 64 else -0.04 * end  # the steps before say nothing
    ticks = scale.tick(first // 2 if first >= 64 else 0)
    return compose(
        [last, *traces],
        height=460,
        xaxis=axis("size")
        | {"tickvals": list(range(len(summary.sizes))), "ticktext": [protect(shorten(s, 14)) for s in summary.sizes]}
        | {"range": [-0.6, len(summary.sizes) - 0.4], "showgrid": False},
        yaxis=axis("step (logarithmic, from 0)")
        | {"tickvals": [*ticks["tickvals"], above], "ticktext": [*ticks["ticktext"], "not yet"]}
        | {"range": [low, above + 0.05 * (above - low)]},
        legend=legend_above(),
    )


def _draw_means(sizes: tuple[SizeSummary, ...], scale: StepScale) -> list[Trace]:
    shown = [(index, size) for index, size in enumerate(sizes) if np.isfinite(size.paper_mean)]
    x = [index - _ASIDE for index, _ in shown]
    y = [float(scale.place(size.paper_mean)) for _, size in shown]
    text = [
        f"mean as in the paper: {size.paper_mean:,.0f}"
        + (f", {size.censored} of {size.emerged + size.censored} counted as {scale.end:,}" if size.censored else "")
        for _, size in shown
    ]
    return [_mark("mean as in the paper", x, y, LINES[3], "diamond", dash="dot") | {"text": text}]


def _draw_medians(sizes: tuple[SizeSummary, ...], scale: StepScale, above: float) -> list[Trace]:
    """Kaplan and Meier's; above all steps where it was not reached."""

    def place(step: float | None) -> float:
        return above if step is None else float(scale.place(step))

    shown = [(index + _ASIDE, size) for index, size in enumerate(sizes) if size.curve is not None]
    bars = [(x, place(size.median_band[0]), place(size.median_band[1])) for x, size in shown]
    text = [describe_median(size) for _, size in shown]
    y = [place(size.median) for _, size in shown]
    symbols = ["square-open" if size.median is None else "square" for _, size in shown]
    marks = _mark("median (Kaplan-Meier)", [x for x, _ in shown], y, LINES[2], "square")
    marks["marker"]["symbol"] = symbols
    return [_draw_bars("band of the median", bars, LINES[2], 2.5, 0.6), marks | {"text": text}]


def describe_median(size: SizeSummary) -> str:
    """The median with its band, as text."""
    if size.curve is None:
        return "no seed was measured"
    lower, upper = (f"{step:,.0f}" if step is not None else "not reached" for step in size.median_band)
    middle = "not reached" if size.median is None else f"{size.median:,.0f}"
    return f"median {middle} [{lower}, {upper}]"


def _mark(
    name: str, x: list[float], y: list[float], colour: tuple[str, str], symbol: str, dash: str | None = None
) -> Trace:
    """Markers, which a line joins if it has a dash."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if dash else "markers",
        "name": name,
        "x": x,
        "y": y,
        "hovertemplate": "%{text}<extra></extra>",
        "meta": themed(*colour),
        "marker": {"color": colour[0], "symbol": symbol, "size": 9},
        "line": {"color": colour[0], "width": 1.2, "dash": dash or "solid"},
        "showlegend": bool(x),
    }


def _draw_bars(
    name: str, bars: list[tuple[float, float, float]], colour: tuple[str, str], width: float, opacity: float
) -> Trace:
    """Vertical bars, each a place with its lower and its upper end."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [place for x, *_ in bars for place in (x, x, None)],
        "y": [place for _, low, high in bars for place in (low, high, None)],
        "hoverinfo": "skip",
        "meta": themed(*colour),
        "line": {"color": colour[0], "width": width},
        "opacity": opacity,
        "showlegend": False,
    }
