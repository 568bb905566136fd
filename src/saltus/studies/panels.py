"""Still figures of results, in the layout of the paper: what all figures share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from saltus.studies.results import Result

OURS = ("#3366a8", "#c2571a", "#3a8a4d", "#8a4fa3", "#a8862b", "#4b4b4b")
"""Colours of our curves, dark enough for a white page and apart for the colour-blind."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""In the order of `OURS`: colour is never the only key."""

THEIRS = "#999999"


def open_panels(columns: int, rows: int = 1, *, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` by `columns` panels; the panels row by row."""
    figure = Figure(figsize=(4.6 * columns, height * rows), layout="constrained", dpi=120)
    panels: Any = figure.subplots(rows, columns, squeeze=False)
    axes: list[Axes] = list(panels.ravel())
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(True, color="#e6e6e6", linewidth=0.6)
        panel.set_axisbelow(True)
    return figure, axes


def label(panel: Axes, title: str, across: str, up: str) -> None:
    """Name a panel and its axes."""
    panel.set_title(title, fontsize=10, loc="left")
    panel.set_xlabel(across, fontsize=9)
    panel.set_ylabel(up, fontsize=9)
    panel.tick_params(which="both", labelsize=8)


def add_legend(panel: Axes) -> None:
    """A legend, if anything in the panel has a name."""
    if panel.get_legend_handles_labels()[1]:
        panel.legend(fontsize=7.5, framealpha=0.85, edgecolor="none")


def add_shared_legend(figure: Figure) -> None:
    """One legend above all panels, which name what they share alike: nine lines leave no room for it in a panel."""
    named = [pair for panel in figure.axes for pair in zip(*panel.get_legend_handles_labels(), strict=True)]
    handles = {name: handle for handle, name in named}
    if handles:
        columns = max(1, round(figure.get_figwidth() / 2.8))  # inches that a name takes
        figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)


def say_not_run(panel: Axes) -> None:
    """Write so into a panel that has nothing of ours to show."""
    panel.text(
        0.5,
        0.5,
        "not run yet",
        transform=panel.transAxes,
        ha="center",
        color=OURS[-1],
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none"},
        zorder=5,
    )


def draw_theirs(panel: Axes, x: Sequence[float], y: Sequence[float | None]) -> None:
    """The authors' points, joined, in grey; where they give none the line is broken."""
    values = [np.nan if value is None else value for value in y]
    panel.plot(x, values, color=THEIRS, marker="o", markersize=4, linewidth=1.4, label="authors (read off)", zorder=2)


def draw_ours(panel: Axes, x: Iterable[float], seeds: Iterable[ArrayLike], name: str, colour: str) -> None:
    """Our seeds as dots and their mean as a line; `seeds` has the values of each x, none where a cell has not been run.

    NaN is a censored seed; where there is one there is no mean, and the line is broken.
    """
    xs, values = list(x), [np.asarray(v, dtype=np.float64) for v in seeds]
    if not any(len(dots) for dots in values):
        say_not_run(panel)
        return
    means = [dots.mean() if len(dots) else np.nan for dots in values]
    panel.plot(xs, means, color=colour, linewidth=1.4, label=name, zorder=3)
    for position, dots in zip(xs, values, strict=True):
        panel.plot([position] * len(dots), dots, linestyle="", marker=".", color=colour, markersize=6, zorder=4)


def draw_plateaus(panel: Axes, cells: Mapping[int, Result | None], level: float, colour: str) -> None:
    """By x, how long the training loss of each seed stays at `level` or above; a triangle if past the budget."""
    ends = {x: cell.passings(level) if cell else [] for x, cell in cells.items()}
    lengths = [[np.nan if step is None else step for step in steps] for steps in ends.values()]
    draw_ours(panel, ends, lengths, "ours, dots: seeds", colour)
    for x, cell in cells.items():
        late = [cell.budget for step in ends[x] if step is None] if cell else []
        panel.plot([x] * len(late), late, linestyle="", marker="^", color=colour, fillstyle="none")
