"""Figures of one capability in the runs of a scan."""

from html import escape

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from saltus.curves import Emergence
from saltus.report.html.drawing import Trace, axis, compose
from saltus.report.html.labels import name_seed, protect, shorten, shorten_prompt
from saltus.report.html.palette import LINES, NEUTRAL, themed
from saltus.report.html.raster import Raster, draw_cells
from saltus.report.html.step_scale import StepScale
from saltus.report.html.survival_curves import Group, draw_curves
from saltus.report.scan.summary import CapabilityTraces, ScanSummary, SeedTrace

_MOST_PROMPTS = 64  # in the raster; of more some are shown, spread evenly
_COLOURED = (0.05, 0.95)  # of the steps at which prompts emerged, so that one lucky prompt does not take all colours
_SPREAD = 0.24  # of a size's seeds, to either side


def draw_trajectories(summary: ScanSummary, capability: CapabilityTraces, size: int) -> go.Figure:
    """Target probability against step, a line for each seed of a size; a ring is where the set emerged."""
    scale = StepScale(summary.end, log=True)
    lines = [(trace, trace.probability) for trace in capability.traces[size]]
    traces = _draw_seeds(lines, scale)
    for trace, values in lines:
        by = trace.whole.emergence.by if trace.whole else None
        if by is not None:
            at = np.searchsorted(trace.steps, by)
            ring = {"symbol": "circle-open", "size": 13, "line": {"width": 2}}
            traces.append(
                {"type": "scatter", "mode": "markers", "name": "emerged", "hoverinfo": "skip", "showlegend": False}
                | {"x": scale.place([by]), "y": values[[at]], "meta": {**_colour_seeds(lines)[trace.seed]}}
                | {"marker": ring}
            )
    return compose(
        traces,
        height=400,
        xaxis=scale.axis("step (logarithmic, from 0)"),
        yaxis=axis("probability of the target") | {"range": [-0.03, 1.05]},
    )


def draw_margins(summary: ScanSummary, capability: CapabilityTraces, size: int) -> go.Figure:
    """Margin over the foil against step, a line for each seed of a size, beside no preference."""
    scale = StepScale(summary.end, log=True)
    ends = scale.place([0, summary.end])
    none: Trace = {
        "type": "scatter",
        "mode": "lines",
        "name": "no preference",
        "x": ends,
        "y": [0.0, 0.0],
        "hoverinfo": "name",
        "meta": themed(*NEUTRAL),
        "line": {"color": NEUTRAL[0], "width": 1.4, "dash": "dash"},
    }
    lines = [(trace, trace.margin) for trace in capability.traces[size]]
    return compose(
        [none, *_draw_seeds(lines, scale)],
        height=400,
        xaxis=scale.axis("step (logarithmic, from 0)"),
        yaxis=axis("margin over the foil (nats)"),
    )


def draw_size_survival(summary: ScanSummary, capability: CapabilityTraces) -> go.Figure:
    """Share of seeds without the set, a curve for each size with its band."""
    groups = [
        Group(
            name=protect(shorten(size)),
            label=protect(shorten(size, 10)),
            emergences=[trace.whole.emergence for trace in traces if trace.whole],
            colour=LINES[index % len(LINES)],
            dash="solid" if index < len(LINES) else "dashdot",
        )
        for index, (size, traces) in enumerate(zip(summary.sizes, capability.traces, strict=True))
        if any(trace.whole for trace in traces)
    ]
    return draw_curves(groups, StepScale(summary.end, log=True))


def draw_prompts(summary: ScanSummary, capability: CapabilityTraces, size: int) -> go.Figure:
    """Seeds by prompts and, set apart, the set; colours are the same for all sizes, and end before the extremes."""
    shown = choose_prompts(capability)
    every = 1 + (len(shown) - 1) // 10  # so that numbers have room on a phone
    traces = [trace for trace in capability.traces[size] if trace.units]
    cells = [[trace.units[i].emergence for i in [*shown, len(trace.units) - 1]] for trace in traces]
    texts = [
        f"prompt {prompt.number} ({escape(shorten_prompt(prompt.text), quote=False)})"
        for prompt in (capability.prompts[i] for i in shown)
    ]
    steps = [
        found.emergence.by
        for seeds in capability.traces
        for trace in seeds
        for found in trace.units
        if found.emergence.by is not None
    ]
    first, last = np.quantile(steps or [0], _COLOURED, method="nearest").tolist()
    raster = Raster(
        seeds=[protect(shorten(trace.seed, 12)) for trace in traces],
        units=[
            *(str(capability.prompts[i].number) if place % every == 0 else "" for place, i in enumerate(shown)),
            "set",
        ],
        cells=cells,
        hover=[
            [
                f"{protect(name_seed(trace.seed))}, {text}: {describe_interval(cell)}"
                for text, cell in zip([*texts, "the set"], row, strict=True)
            ]
            for trace, row in zip(traces, cells, strict=True)
        ],
        censored="not by its last measured step (censored)",
        lost="lost at least once after",
        first=first,
        last=last,
    )
    return draw_cells(raster, StepScale(summary.end, log=True))


def choose_prompts(capability: CapabilityTraces) -> list[int]:
    """Indices of the prompts in the raster."""
    count = len(capability.prompts)
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_PROMPTS)).round().astype(int)).tolist()


def place_seeds(count: int) -> NDArray[np.float64]:
    """[seed] how far from the middle of its size a seed is drawn."""
    return np.linspace(-_SPREAD, _SPREAD, count) if count > 1 else np.zeros(count)


def describe_interval(emergence: Emergence) -> str:
    """For labels: when it emerged, with commas."""
    if emergence.by is None:
        return f"not by {max(emergence.after, 0):,}"
    text = f"({emergence.after:,}, {emergence.by:,}]" if emergence.after >= 0 else f"at {emergence.by:,}"
    return text if emergence.lost is None else f"{text}, lost at {emergence.lost:,}"


def _draw_seeds(lines: list[tuple[SeedTrace, NDArray[np.float64]]], scale: StepScale) -> list[Trace]:
    """A line for each seed, with a dot at each measured checkpoint."""
    colours = _colour_seeds(lines)
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": protect(name_seed(trace.seed)),
            "x": scale.place(trace.steps),
            "y": values.astype(np.float32),
            "customdata": trace.steps.astype(np.int32),
            "hovertemplate": "%{fullData.name}: %{y:.3f} at %{customdata:,}<extra></extra>",
            "meta": colours[trace.seed],
            "line": {"width": 1.4, "dash": "solid" if index < len(LINES) else "dashdot"},
            "marker": {"size": 4.5},
            "opacity": 0.9 if len(lines) <= 2 * len(LINES) else 0.5,
            "showlegend": len(lines) <= 2 * len(LINES),
        }
        for index, (trace, values) in enumerate(lines)
        if len(trace.steps)
    ]


def _colour_seeds(lines: list[tuple[SeedTrace, NDArray[np.float64]]]) -> dict[str, dict[str, str]]:
    many = len(lines) > 2 * len(LINES)
    return {trace.seed: themed(*LINES[0 if many else index % len(LINES)]) for index, (trace, _) in enumerate(lines)}
