"""The section of a page that is about a monitored training: the page that lasts."""

from collections.abc import Mapping, Sequence

import numpy as np

from saltus.curves import Curves
from saltus.monitor.records import MonitorRecords
from saltus.report.curves.tables import EMERGENCE_COLUMNS, show_emergence
from saltus.report.html.blocks import Block, Chooser, Column, FigureViews, Part, Row, Section, Table, Text
from saltus.report.html.labels import plural, shorten
from saltus.report.html.settings import fold_settings
from saltus.report.monitor.figures import caption_grid, draw_curves, draw_grid, draw_scalars, pack_maps
from saltus.report.monitor.summary import describe_findings, describe_overhead


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
        blocks.append(draw_curves("loss", "Loss", lambda one: one.loss_curves, records, siblings))
    if len(records.curves):
        blocks.append(draw_curves("capabilities", "Capabilities", lambda one: one.curves, records, siblings))
    if scalars := [name for name in records.spec.scalars if len(records.scalar_curves(name))]:
        chooser = Chooser("scalar", "Number", [shorten(name) for name in scalars])
        blocks.append(Part("One number at a time", [draw_scalars(scalars, records, siblings)], (chooser,)))
    patterns = [name for name in records.spec.patterns if len(records.heads(name))]
    if not patterns:
        return blocks
    blocks.append(
        draw_curves("patterns", "The strongest head of each pattern", lambda one: one.strongest, records, siblings)
    )
    views = {f"{place}": (draw_grid(records, name), caption_grid(records, name)) for place, name in enumerate(patterns)}
    alt = "Heatmap of the mass of each head, a row for each layer, on the chosen pattern at the last probe"
    grid = FigureViews("grid", "Every head, at the last probe", alt, views, by=("pattern",))
    maps = pack_maps(records, patterns)
    sharpest = max(range(len(patterns)), key=lambda place: records.strongest.select(unit=patterns[place])[0].values[-1])
    chooser = Chooser("pattern", "Pattern", [shorten(name) for name in patterns], sharpest)
    return [*blocks, Part("One pattern at a time", [grid, *([maps] if maps else [])], (chooser,))]


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
