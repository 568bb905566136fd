"""Still figures of emergences, as PNG: what a notebook shows without a script and without the network."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from saltus.curves import Emergence
from saltus.measure.comparison import ArmComparison
from saltus.report.html.drawing import thin
from saltus.report.html.labels import shorten
from saltus.report.html.palette import LINES

_MOST_BARS = 120
_DPI = 110


def draw_intervals(found: Sequence[Emergence], end: float) -> bytes:
    """A bar for each emergence, from the last step without to the first step with it; an arrow at `end` where censored.

    Bars are sorted within their group by when they came; long lists are thinned evenly.
    """
    groups = list(dict.fromkeys(e.key.group for e in found))
    rank = {group: place for place, group in enumerate(groups)}
    ordered = sorted(found, key=lambda e: (rank[e.key.group], np.inf if e.by is None else e.by, e.after))
    bars = [ordered[place] for place in thin(len(ordered), _MOST_BARS)]
    figure = Figure(figsize=(7.0, float(np.clip(0.14 * len(bars) + 1.1, 1.8, 7.0))), layout="constrained")
    axes = figure.subplots()
    named: set[str] = set()
    for height, emergence in enumerate(bars):
        group = emergence.key.group
        colour = LINES[rank[group] % len(LINES)][0]
        left = max(emergence.after, 0)
        name = None if group in named else _name(group)
        named.add(group)
        if emergence.by is None:
            axes.plot([left, end], [height, height], color=colour, linewidth=0.8, linestyle=":", label=name)
            axes.plot([end], [height], color=colour, marker=">", markersize=4, clip_on=False)
        else:
            axes.plot([left, emergence.by], [height, height], color=colour, linewidth=3.0, label=name)
            axes.plot([emergence.by], [height], color=colour, marker="|", markersize=7)
    axes.set_xlim(0, max(end, 1.0))
    axes.set_xlabel("training step; an arrow where it had not come by the end")
    axes.set_yticks([])
    if 1 < len(groups) <= len(LINES):
        for text in axes.legend(fontsize=8).get_texts():
            text.set_parse_math(False)
    return _save(figure)


def draw_medians(compared: ArmComparison) -> bytes:
    """The median step of each arm with its interval; an arrow where the data set no upper limit."""
    figure = Figure(figsize=(7.0, 0.45 * len(compared.arms) + 1.0), layout="constrained")
    axes = figure.subplots()
    for height, arm in enumerate(reversed(compared.arms)):
        colour = LINES[0][0]
        upper = arm.median.upper if np.isfinite(arm.median.upper) else compared.horizon
        axes.plot([max(arm.median.lower, 0.0), upper], [height, height], color=colour, linewidth=2.0)
        if not np.isfinite(arm.median.upper):
            axes.plot([upper], [height], color=colour, marker=">")
        if arm.median.value is not None and np.isfinite(arm.median.value):
            axes.plot([arm.median.value], [height], color=colour, marker="o")
    labels = axes.set_yticks(range(len(compared.arms)), [_name(arm.name) for arm in reversed(compared.arms)])
    for label in labels:
        label.label1.set_parse_math(False)
    axes.set_ylim(-0.6, len(compared.arms) - 0.4)
    axes.set_xlabel("step by which half of the units emerged, with its 95% interval")
    return _save(figure)


def _name(text: str) -> str:
    return f" {shorten(text)}"  # a legend leaves out names that begin with an underscore


def _save(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()
