"""Lines of values over training, with a ring where their unit emerged."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from plotly.graph_objects import Figure

from saltus.curves import Curve, Curves, Emergence
from saltus.report.curves.words import describe_emergence
from saltus.report.html.drawing import Colour, Trace, axis, colour_line, compose, level, trace_steps
from saltus.report.html.palette import LINES
from saltus.report.html.step_scale import StepScale


def choose_scale(curves: Curves) -> StepScale:
    """A logarithmic scale where most evaluations are early in training, otherwise an even one."""
    steps = np.concatenate([curve.steps for curve in curves]) if curves else np.zeros(1)
    return StepScale(curves.end, log=bool(np.median(steps) < curves.end / 4))


def draw_lines(
    curves: Sequence[Curve],
    names: Sequence[str],
    scale: StepScale,
    title: str,
    *,
    found: Sequence[Emergence] = (),
    colours: Sequence[Colour] = (),
    metas: Sequence[Mapping[str, int]] = (),
    levels: Sequence[tuple[str, float]] = (),
    limits: tuple[float, float] | None = None,
) -> Figure:
    """A line for each curve, with dots where evaluations are uneven, between named levels.

    `found` are the emergences of the same runs, `names` those of the lines, escaped; `title` is that of the values.
    Without `colours` lines are told apart by theirs as long as they are few. `metas` has, for each line, the options
    of choosers with which it is emphasised.
    """
    many = len(curves) > 2 * len(LINES) and not colours
    ends = scale.place([0, scale.end])
    dashes = cycle(("dash", "dot", "dashdot"))
    traces = [level(ends, value, name, dash=next(dashes)) for name, value in levels]
    rings: list[tuple[float, float, str, Colour]] = []
    for index, (curve, name) in enumerate(zip(curves, names, strict=True)):
        colour, dash = (colours[index], "solid") if colours else colour_line(index, len(curves))
        by = found[index].by if found else None
        faint = many or (bool(colours) and by is None)
        traces.append(
            trace_steps(
                curve.steps,
                curve.values,
                name,
                colour,
                scale,
                mode="lines+markers" if scale.log else "lines",
                line={"width": 1.5, "dash": dash},
                marker={"size": 4.5},
                opacity=0.5 if faint else 0.9,
                showlegend=not many,
                meta=metas[index] if metas else {},
            )
        )
        if by is not None:
            at = float(curve.values[np.searchsorted(curve.steps, by)])
            rings.append((float(scale.place(by)), at, f"{name}: {describe_emergence(found[index])}", colour))
    if rings:
        traces.append(_draw_rings(rings))
    named = len(levels) + len(curves) * (not many)
    return compose(
        traces,
        height=int(np.clip(60 + 19 * named, 380, 700)),  # so that the legend fits
        xaxis=scale.axis,
        yaxis=axis(title) | ({"range": list(limits)} if limits else {}),
    )


def _draw_rings(rings: Sequence[tuple[float, float, str, Colour]]) -> Trace:
    x, y, texts, colours = zip(*rings, strict=True)
    light, dark = (list(theme) for theme in zip(*colours, strict=True))
    trace: Trace = {"type": "scatter", "mode": "markers", "name": "emerged", "x": x, "y": y, "showlegend": False}
    trace |= {"text": texts, "hovertemplate": "%{text}<extra></extra>", "meta": {"light": light, "dark": dark}}
    return trace | {"marker": {"symbol": "circle-open", "size": 11, "color": light, "line": {"width": 2}}}
