"""Figures of one capability in the runs of a scan."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.measure.groups import GroupSummary
from saltus.report.curves.lines import draw_lines
from saltus.report.curves.raster import draw_raster
from saltus.report.curves.words import describe_emergence, format_step, name_runs
from saltus.report.html.drawing import Colour, Trace, axis, compose, draw_spans, legend_above, level, scatter, thin
from saltus.report.html.labels import name_seed, protect, shorten, shorten_prompt
from saltus.report.html.palette import LINES
from saltus.report.html.step_scale import StepScale
from saltus.report.scan.summary import CapabilitySummary, ScanSummary, of_size

MOST_PROMPTS = 64
"""In the raster; of more some are shown, spread evenly."""

_COLOURED = (0.05, 0.95)  # of the steps at which prompts emerged, so that one lucky prompt does not take all colours
_SPREAD = 0.24  # of a size's seeds, to either side
_ASIDE = 0.36  # how far from the middle of a size its mean and its median are


def draw_trajectories(summary: ScanSummary, capability: CapabilitySummary, size: str) -> go.Figure:
    """Target probability against step, a line for each seed of a size; a ring is where the set emerged."""
    curves, found = capability.probability.select(group=size), of_size(capability.sets, size)
    names, scale = name_runs([curve.key[:2] for curve in curves]), StepScale(summary.end, log=True)
    return draw_lines(curves, names, scale, "probability of the target", found=found, limits=(-0.03, 1.05))


def draw_margins(summary: ScanSummary, capability: CapabilitySummary, size: str) -> go.Figure:
    """Margin over the foil, or the gain within a passage, against step: a line for each seed of a size."""
    curves = capability.margin.select(group=size)
    names, scale = name_runs([curve.key[:2] for curve in curves]), StepScale(summary.end, log=True)
    if capability.is_text:
        return draw_lines(curves, names, scale, "loss early less late (nats)", levels=[("no gain", 0.0)])
    return draw_lines(curves, names, scale, "margin over the foil (nats)", levels=[("no preference", 0.0)])


def draw_prompts(summary: ScanSummary, capability: CapabilitySummary, size: str) -> go.Figure:
    """Seeds by prompts and, set apart, the set; colours are the same for all sizes, and end before the extremes."""
    shown = [capability.prompts[place] for place in thin(len(capability.prompts), MOST_PROMPTS)]
    every = 1 + (len(shown) - 1) // 10  # so that numbers have room on a phone
    labels = {prompt.unit: str(prompt.number) if place % every == 0 else "" for place, prompt in enumerate(shown)}
    texts = {prompt.unit: f"prompt {prompt.number} ({protect(shorten_prompt(prompt.text))})" for prompt in shown}
    whole = capability.probability.units[0]
    parts = [emergence for emergence in of_size(capability.parts, size) if emergence.key.unit in labels]
    steps = [found.by for found in (*capability.parts, *capability.sets) if found.by is not None]
    first, last = np.quantile(steps or [0], _COLOURED, method="nearest").tolist()
    return draw_raster(
        [*parts, *of_size(capability.sets, size)],
        StepScale(summary.end, log=True),
        whole=whole,
        labels=labels | {whole: "set"},
        texts=texts | {whole: "the set"},
        span=(first, last),
    )


def draw_sizes(summary: ScanSummary, capability: CapabilitySummary) -> go.Figure:
    """Steps to emergence against size (the paper's figure), with what censoring does to it.

    Each seed with its interval, the paper's mean, the median with its limits.
    """
    scale = StepScale(summary.end, log=True)
    end = float(scale.place(summary.end)) or 1.0
    above = end + 0.3  # where seeds are that did not get there
    seeds = [
        (index + shift, found)
        for index, size in enumerate(summary.sizes)
        for of_one in [of_size(capability.sets, size)]
        for shift, found in zip(_place_seeds(len(of_one)), of_one, strict=True)
    ]
    emerged = [(x, found, float(scale.place(found.by))) for x, found in seeds if found.by is not None]
    censored = [(x, found, above) for x, found in seeds if found.by is None]
    bars = [(x, float(scale.place(max(found.after, 0))), by) for x, found, by in emerged]
    traces = [draw_spans("last step without to first step with", bars, LINES[0], opacity=0.45)]
    for name, shown, colour, symbol in (
        ("a seed", emerged, LINES[0], "circle"),
        ("a seed without it", censored, LINES[1], "triangle-up-open"),
    ):
        texts = [f"{protect(name_seed(found.key.seed))}: {describe_emergence(found)}" for _, found, _ in shown]
        traces.append(_mark(name, [x for x, *_ in shown], [y for *_, y in shown], texts, colour, symbol))
    first = min((max(found.after, 0) for _, found, _ in emerged), default=0)
    low = float(scale.place(first // 2)) if first >= 64 else -0.04 * end  # the steps before say nothing
    ticks, span = scale.tick(first // 2 if first >= 64 else 0), [-0.6, len(summary.sizes) - 0.4]
    last = level(span, end, "last step", dash="dot") | {"hoverinfo": "skip", "showlegend": False}
    return compose(
        [last, *traces, *_draw_means(capability.groups, scale), *_draw_medians(capability.groups, scale, above)],
        height=460,
        xaxis=axis("size", tickvals=list(range(len(summary.sizes))), range=span, showgrid=False)
        | {"ticktext": [protect(shorten(size, 14)) for size in summary.sizes]},
        yaxis=axis("step (logarithmic, from 0)", range=[low, above + 0.05 * (above - low)])
        | {"tickvals": [*ticks["tickvals"], above], "ticktext": [*ticks["ticktext"], "not yet"]},
        legend=legend_above(),
    )


def _draw_means(groups: tuple[GroupSummary, ...], scale: StepScale) -> list[Trace]:
    shown = [(index - _ASIDE, group) for index, group in enumerate(groups) if group.median]
    texts = [
        f"mean as in the paper: {group.paper_mean:,.0f}"
        + (f", {group.censored} of {group.measured} counted as {scale.end:,}" if group.censored else "")
        for _, group in shown
    ]
    y = [float(scale.place(group.paper_mean)) for _, group in shown]
    marks = _mark("mean as in the paper", [x for x, _ in shown], y, texts, LINES[3], "diamond")
    return [marks | {"mode": "lines+markers", "line": {"color": LINES[3][0], "width": 1.2, "dash": "dot"}}]


def _draw_medians(groups: tuple[GroupSummary, ...], scale: StepScale, above: float) -> list[Trace]:
    """Turnbull's; above all steps where it was not reached."""

    def place(step: float | None) -> float:
        return above if step is None or np.isinf(step) else float(scale.place(step))

    shown = [(index + _ASIDE, group.median) for index, group in enumerate(groups) if group.median]
    bars = [(x, place(median.lower), place(median.upper)) for x, median in shown]
    texts = [f"median {format_step(median)}" for _, median in shown]
    y = [place(median.value) for _, median in shown]
    marks = _mark("median (Turnbull)", [x for x, _ in shown], y, texts, LINES[2], "square")
    marks["marker"]["symbol"] = ["square-open" if median.value == np.inf else "square" for _, median in shown]
    return [draw_spans("limits of the median", bars, LINES[2], opacity=0.6), marks]


def _place_seeds(count: int) -> NDArray[np.float64]:
    """[seed] how far from the middle of its size a seed is drawn."""
    return np.linspace(-_SPREAD, _SPREAD, count) if count > 1 else np.zeros(count)


def _mark(name: str, x: list[float], y: list[float], texts: list[str], colour: Colour, symbol: str) -> Trace:
    trace = scatter(x, y, name, colour, mode="markers", marker={"symbol": symbol, "size": 9}, text=texts)
    return trace | {"hovertemplate": "%{text}<extra></extra>", "showlegend": bool(x)}
