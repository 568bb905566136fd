"""The section of a page that is about a monitored training: the page that lasts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from plotly.graph_objects import Figure

from saltus.curves import Curves
from saltus.monitor.folder import MonitorFolder
from saltus.monitor.records import MonitorRecords, name_head
from saltus.report.curves.lines import choose_scale, draw_lines
from saltus.report.curves.tables import EMERGENCE_COLUMNS, show_emergence
from saltus.report.html.blocks import (
    Block,
    Chooser,
    Column,
    FigureViews,
    Maps,
    MapsView,
    Panel,
    Part,
    Row,
    Section,
    Table,
    Text,
    pack_weights,
)
from saltus.report.html.drawing import axis, compose, thin
from saltus.report.html.labels import plural, protect, shorten, show_token
from saltus.report.html.palette import colour_scales
from saltus.report.html.settings import fold_settings
from saltus.report.monitor.summary import count_sharp, describe_findings, describe_overhead, name_sharpest

_MOST_FRAMES = 24
_SHOWN_HEADS = 4


def describe_monitors(monitored: Sequence[MonitorRecords]) -> list[Section]:
    """A section for each training; beside those of the same group, if there are any."""
    return [_describe(records, _find_siblings(records, monitored)) for records in monitored]


def _find_siblings(records: MonitorRecords, monitored: Sequence[MonitorRecords]) -> list[MonitorRecords]:
    """The other trainings of its group."""
    return [other for other in monitored if other.spec.group == records.spec.group and other is not records]


def _describe(records: MonitorRecords, siblings: Sequence[MonitorRecords]) -> Section:
    spec = records.spec
    end = f"{records.rows[-1].step:,} steps" if records.rows else "no step"
    status = "This training goes on, or ended without closing its monitor: what has not come may come yet."
    return Section(
        name=f"{spec.group}, seed {spec.seed}",
        question="When did it emerge?",
        headline=describe_findings(records),
        essence=f"monitored training · {end} · {plural(len(records.rows), 'probe')} · {describe_overhead(records)}",
        blocks=[
            *([] if records.finished else [Text(status, "warning")]),
            *(Text(note, "warning") for note in records.notes),
            *fold_settings({"monitor": {"folder": records.path.name} | spec.model_dump(mode="json")}),
            *_list_figures(records, siblings),
            *_tabulate(records),
        ],
    )


def _list_figures(records: MonitorRecords, siblings: Sequence[MonitorRecords]) -> list[Block]:
    blocks: list[Block] = []
    if np.isfinite(records.losses).any():
        blocks.append(_draw("loss", "Loss", lambda one: one.loss_curves, records, siblings))
    if len(records.curves):
        blocks.append(_draw("capabilities", "Capabilities", lambda one: one.curves, records, siblings))
    patterns = [name for name in records.spec.patterns if len(records.heads(name))]
    if not patterns:
        return blocks
    blocks.append(_draw("patterns", "The strongest head of each pattern", lambda one: one.strongest, records, siblings))
    views = {
        f"{place}": (_draw_grid(records, name), _caption_grid(records, name)) for place, name in enumerate(patterns)
    }
    alt = "Heatmap of the mass of each head, a row for each layer, on the chosen pattern at the last probe"
    grid = FigureViews("grid", "Every head, at the last probe", alt, views, by=("pattern",))
    maps = _pack_maps(records, patterns)
    chooser = Chooser("pattern", "Pattern", [shorten(name) for name in patterns])
    return [*blocks, Part("One pattern at a time", [grid, *([maps] if maps else [])], (chooser,))]


def _draw(
    key: str,
    title: str,
    choose: Callable[[MonitorRecords], Curves],
    records: MonitorRecords,
    siblings: Sequence[MonitorRecords],
) -> FigureViews:
    """Lines of the training; those of its group's other seeds are faint."""
    curves = choose(records)
    others = [curve for other in siblings for curve in choose(other)]
    found = curves.emergences() if key != "loss" else None
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
    return FigureViews(key, title, f"Lines of {curves.measure} over training steps", {"": (figure, caption)})


def _draw_grid(records: MonitorRecords, pattern: str) -> Figure:
    masses = _read_last(records, pattern)  # [layer, head]
    light, dark = colour_scales()
    heads = [
        [f"{name_head(layer, head)}: {masses[layer, head]:.2f}" for head in range(masses.shape[1])]
        for layer in range(len(masses))
    ]
    trace = {"type": "heatmap", "z": masses, "text": heads, "hoverinfo": "text", "coloraxis": "coloraxis"}
    bar = {"title": {"text": "mass", "side": "right"}, "thickness": 12, "outlinewidth": 0}
    bare = {"showgrid": False, "dtick": 1}
    return compose(
        [trace | {"xgap": 2, "ygap": 2}],
        height=int(np.clip(120 + 26 * len(masses), 200, 900)),
        meta={"light": light, "dark": dark},
        coloraxis={"cmin": 0.0, "cmax": 1.0, "colorscale": light, "colorbar": bar},
        xaxis=axis("head") | bare,
        yaxis=axis("layer", autorange="reversed") | bare,
    )


def _caption_grid(records: MonitorRecords, pattern: str) -> str:
    sharp, heads = count_sharp(records, pattern)
    curves = records.heads(pattern)
    return (
        f"Mass of attention on {pattern}, from 0 to 1; uniform attention has {curves[0].chance:.2f}, which is chance. "
        f"{sharp} of {plural(heads, 'head')} have it ({curves.rule.change(hold=1).describe('mass')}); the sharpest is "
        f"{name_sharpest(records, pattern)}."
    )


def _read_last(records: MonitorRecords, pattern: str) -> np.ndarray:
    """[layer, head] of the last probe that read patterns."""
    masses = records.masses[..., records.spec.patterns.index(pattern)]
    return masses[np.isfinite(masses).any((1, 2))][-1]


def _pack_maps(records: MonitorRecords, patterns: Sequence[str]) -> Maps | None:
    """The attention of the sharpest heads on the first probe sequence, beside the pattern itself."""
    folder, probe = MonitorFolder(records.path), records.probe
    kept = [step for step in folder.frames() if step in set(records.steps.tolist())]
    if not kept or probe is None:
        return None
    frames = [kept[place] for place in thin(len(kept), _MOST_FRAMES)]
    attention = np.stack([folder.pattern(step) for step in frames])  # [frame, layer, head, query, key]
    length = attention.shape[-1]
    texts = [show_token(text, 6) for text in probe.texts[:length]] or [str(place) for place in range(length)]
    views: list[MapsView] = []
    for pattern in patterns:
        masses = _read_last(records, pattern)
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


def _tabulate(records: MonitorRecords) -> list[Table]:
    """Every capability, pattern and head with the interval in which it came; and what was told on the way."""
    sources: Mapping[str, Curves] = {"capability": records.curves, "strongest head": records.strongest} | {
        name: records.heads(name) for name in records.spec.patterns
    }
    rows = [
        Row((what, emergence.key.unit, *show_emergence(emergence), float(curve.values[-1])), strong=place < 2)
        for place, (what, curves) in enumerate(sources.items())
        for curve, emergence in zip(curves, curves.emergences(), strict=True)
    ]
    columns = [Column("what", style="name"), Column("unit", style="name"), *EMERGENCE_COLUMNS, Column("last")]
    note = "Emergence is between the last probe without and the first with. The last value is a share or a mass."
    tables = [Table("Every emergence", columns, rows, note, file=f"{records.path.name}.csv")] if rows else []
    told = [Row((event.step, event.kind, event.text)) for event in records.events]
    names = [Column("step"), Column("kind", style="name"), Column("what", style="text")]
    return [*tables, *([Table("What was told on the way", names, told, folded=True)] if told else [])]
