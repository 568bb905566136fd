"""Figures of a monitored training: lines, the grid of heads, and what the sharpest of them look at."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from saltus.curves import Curves
from saltus.monitor.folder import MonitorFolder
from saltus.monitor.records import MonitorRecords, name_head
from saltus.report.curves.lines import choose_scale, draw_lines
from saltus.report.html.blocks import FigureViews, Maps, MapsView, Panel, pack_weights
from saltus.report.html.drawing import axis, compose, thin
from saltus.report.html.labels import plural, protect, shorten, show_token
from saltus.report.html.palette import colour_scales
from saltus.report.monitor.summary import count_sharp, list_sharpened, name_sharpest, say_sharpening

_MOST_FRAMES = 24
_SHOWN_HEADS = 4
_TOLD_HEADS = 6


def draw_curves(
    key: str,
    title: str,
    choose: Callable[[MonitorRecords], Curves],
    records: MonitorRecords,
    siblings: Sequence[MonitorRecords],
) -> FigureViews:
    """Lines of the training; those of its group's other seeds are faint."""
    curves, view = choose(records), _draw_view(choose, records, siblings, ruled=key != "loss")
    return FigureViews(key, title, f"Lines of {curves.measure} over training steps", {"": view})


def draw_scalars(names: Sequence[str], records: MonitorRecords, siblings: Sequence[MonitorRecords]) -> FigureViews:
    """The user's own numbers, each of which has a scale of its own."""
    views = {
        f"{place}": _draw_view(lambda one, name=name: one.scalar_curves(name), records, siblings, ruled=False)
        for place, name in enumerate(names)
    }
    return FigureViews("scalars", "Own numbers", "Lines of the chosen number over training steps", views, ("scalar",))


def _draw_view(
    choose: Callable[[MonitorRecords], Curves],
    records: MonitorRecords,
    siblings: Sequence[MonitorRecords],
    *,
    ruled: bool,
) -> tuple[Figure, str]:
    """Figure and caption; with rings and levels where the curves are `ruled`."""
    curves = choose(records)
    others = [curve for other in siblings for curve in choose(other)]
    found = curves.emergences() if ruled else None
    lines = [*curves, *others]
    names = [protect(shorten(curve.key.unit)) for curve in curves]
    names += [protect(f"{shorten(curve.key.unit)}, seed {shorten(curve.key.seed, 16)}") for curve in others]
    rule = curves.rule
    levels = [] if found is None or rule.share else [(f"rule {rule.level:.3g}", rule.level)]
    figure = draw_lines(
        lines,
        names,
        choose_scale(curves),
        f"{curves.measure} ({curves.unit_of_measure})" if curves.unit_of_measure else curves.measure,
        found=[] if found is None else [*found, *(e for other in siblings for e in choose(other).emergences())],
        levels=levels,
    )
    caption = f"{curves.measure[0].upper()}{curves.measure[1:]} at each probe"
    caption += "." if found is None else f"; a ring is where it emerged: {found.rule.describe(curves.measure)}."
    return figure, caption


def draw_grid(records: MonitorRecords, pattern: str) -> Figure:
    """The mass of every head on a pattern at the last probe, a row for each layer; those that sharpened have a number.

    The numbers are the places in `list_sharpened`, from 1.
    """
    masses = _read_last(records, pattern)  # [layer, head]
    light, dark = colour_scales()
    sharpened = list_sharpened(records, pattern)
    ranks = {each.unit: rank for rank, each in enumerate(sharpened, 1)}
    told = {each.unit: f", {say_sharpening(each)}" for each in sharpened}
    names = [[name_head(layer, head) for head in range(masses.shape[1])] for layer in range(len(masses))]
    trace = {
        "type": "heatmap",
        "z": masses,
        "text": [[str(ranks.get(name, "")) for name in row] for row in names],
        "texttemplate": "%{text}",
        "hovertext": [
            [f"{name}: {mass:.2f}{told.get(name, '')}" for name, mass in zip(row, layer, strict=True)]
            for row, layer in zip(names, masses, strict=True)
        ],
        "hoverinfo": "text",
        "coloraxis": "coloraxis",
        "xgap": 2,
        "ygap": 2,
    }
    bar = {"title": {"text": "mass", "side": "right"}, "thickness": 12, "outlinewidth": 0}
    bare = {"showgrid": False, "dtick": 1}
    return compose(
        [trace],
        height=int(np.clip(120 + 26 * len(masses), 200, 900)),
        meta={"light": light, "dark": dark},
        coloraxis={"cmin": 0.0, "cmax": 1.0, "colorscale": light, "colorbar": bar},
        xaxis=axis("head") | bare,
        yaxis=axis("layer", autorange="reversed") | bare,
    )


def caption_grid(records: MonitorRecords, pattern: str) -> str:
    """Of the grid of heads."""
    sharp, heads = count_sharp(records, pattern)
    curves = records.heads(pattern)
    return (
        f"Mass of attention on {pattern}, from 0 to 1; uniform attention has {curves[0].chance:.2f}, which is chance. "
        f"{sharp} of {plural(heads, 'head')} have it ({curves.rule.change(hold=1).describe('mass')}); the sharpest is "
        f"{name_sharpest(records, pattern)}. {_explain_numbers(records, pattern)}"
    )


def _explain_numbers(records: MonitorRecords, pattern: str) -> str:
    """What the numbers in the grid mean, and the heads that have the first of them."""
    sharpened = list_sharpened(records, pattern)
    if not sharpened:
        return "No head has sharpened yet."
    first = [f"{rank}: {each.unit}, {say_sharpening(each)}" for rank, each in enumerate(sharpened[:_TOLD_HEADS], 1)]
    more = f"; and {len(sharpened) - _TOLD_HEADS} more" if len(sharpened) > _TOLD_HEADS else ""
    return (
        "Numbers are by how fast heads sharpened, in steps from half-way to sharp, which probes that are far apart "
        f"overstate: {'; '.join(first)}{more}."
    )


def _read_last(records: MonitorRecords, pattern: str) -> NDArray[np.float64]:
    """[layer, head] of the last probe that read patterns."""
    masses = records.masses[..., records.spec.patterns.index(pattern)]
    return masses[np.isfinite(masses).any((1, 2))][-1]


def pack_maps(records: MonitorRecords, patterns: Sequence[str]) -> Maps | None:
    """The attention of the sharpest heads on the first probe sequence, beside the pattern itself."""
    folder, probe = MonitorFolder(records.path), records.probe
    kept = [step for step in folder.frames() if step in set(records.steps.tolist())]
    if not kept or probe is None:
        return None
    frames = [kept[place] for place in thin(len(kept), _MOST_FRAMES)]
    read = [folder.pattern(step) for step in frames]
    alike = [place for place, each in enumerate(read) if each.shape == read[-1].shape]  # the model may have grown
    frames = [frames[place] for place in alike]
    attention = np.stack([read[place] for place in alike])  # [frame, layer, head, query, key]
    length = attention.shape[-1]
    texts = [show_token(text, 6) for text in probe.texts[:length]] or [str(place) for place in range(length)]
    views: list[MapsView] = []
    for pattern in patterns:
        masses = _read_last(records, pattern)[: attention.shape[1], : attention.shape[2]]
        best = np.argsort(-masses, axis=None, kind="stable")[:_SHOWN_HEADS]
        places = [tuple(map(int, np.unravel_index(each, masses.shape))) for each in best]
        known = probe.masks[records.spec.patterns.index(pattern), :length, :length].astype(np.float32)
        panels = [Panel(pattern, pack_weights(known[None] / np.maximum(1.0, known.sum(-1, keepdims=True))))]
        panels += [Panel(name_head(*place), pack_weights(attention[:, place[0], place[1]])) for place in places]
        views.append(
            MapsView(
                rows=[f"query {place}: {text}" for place, text in enumerate(texts)],
                labels=texts,
                count=length,
                visible=list(range(1, length + 1)),
                groups=[("", panels)],
                keys=texts,
            )
        )
    return Maps(
        key="attention",
        title="What the sharpest heads look at",
        caption="Each line of a map is a query of the first probe sequence and each column a key. The first map is the "
        "known pattern itself; beside it are the heads with the most mass on it at the last probe.",
        by="pattern",
        views=views,
        frames=[f"step {step:,}" for step in frames],
    )
