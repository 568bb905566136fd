"""The part of the page that is about one scan."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltus.lm.records import ScanRecords
from saltus.report.html.labels import plural, shorten
from saltus.report.html.page import format_setting, to_json
from saltus.report.html.views import Chooser, FigureViews
from saltus.report.scan import captions, figures
from saltus.report.scan.size_figure import describe_median, draw_sizes
from saltus.report.scan.summary import (
    MissingCheckpoint,
    ScanSummary,
    UnitNumbers,
    list_missing,
    list_unit_numbers,
    summarise_scan,
)

_CAVEATS = {
    "grid": "",
    "bisect": "Checkpoints were searched by bisection, which takes for granted that what is solved stays solved.",
    "robust": "What comes and goes again between two measured checkpoints is not seen.",
}
_MOST_ROWS = 10_000  # of the table of numbers; prompts are left out of a longer one


@dataclass(frozen=True)
class ScanSection:
    """One scan, as the template needs it."""

    name: str
    folder: str
    summary: ScanSummary
    headline: str
    essence: str
    status: str
    caveat: str
    """What the strategy cannot see."""
    settings: dict[str, dict[str, str]]
    medians: dict[str, list[str]]
    """By capability, [size] the median with its band."""
    missing: list[MissingCheckpoint]
    choosers: list[Chooser]
    figures: dict[str, FigureViews]
    numbers: list[UnitNumbers]
    omitted: str
    """Why the table of numbers has no prompts; empty if it has."""

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script reads."""
        return {
            "choices": {chooser.key: chooser.chosen for chooser in self.choosers},
            "figures": {key: views.data for key, views in self.figures.items()},
        }


def describe_scan_section(records: ScanRecords) -> ScanSection:
    """Everything that the page says about a scan."""
    summary = summarise_scan(records)
    numbers = list_unit_numbers(records, summary)
    short = [row for row in numbers if row.found.unit.prompt is None]
    long = len(numbers) > _MOST_ROWS
    names = [shorten(capability.name) for capability in summary.capabilities]
    size = captions.choose_size(summary, summary.capabilities[0]) if names and summary.sizes else 0
    return ScanSection(
        name=summary.suite,
        folder=records.path.name,
        summary=summary,
        headline=captions.describe_scan(summary),
        essence=_describe_essence(summary, records),
        status=_describe_status(summary),
        caveat=_CAVEATS[records.spec.strategy],
        settings=_list_settings(records),
        medians={
            capability.name: [describe_median(found) for found in capability.sizes]
            for capability in summary.capabilities
        },
        missing=list_missing(records, summary),
        choosers=[
            Chooser("capability", "Capability", names, 0),
            Chooser("size", "Size", [shorten(name) for name in summary.sizes], size),
        ],
        figures=_draw_figures(summary, size) if names and summary.sizes else {},
        numbers=short if long else numbers,
        omitted=f"Single prompts ({len(numbers) - len(short):,} rows) are left out here; they are in "
        f"{records.path.name}/probes.parquet."
        if long
        else "",
    )


def _draw_figures(summary: ScanSummary, size: int) -> dict[str, FigureViews]:
    first = {"capability": 0, "size": size}
    numbered = list(enumerate(summary.capabilities))
    pairs = [(n, capability, index) for n, capability in numbered for index in range(len(summary.sizes))]
    with_foils = [pair for pair in pairs if pair[1].has_margin(pair[2])]
    drawn = {
        key: FigureViews(
            ("capability",), {f"{n}": (to_json(draw(summary, c)), caption(summary, c)) for n, c in numbered}, first
        )
        for key, draw, caption in (
            ("sizes", draw_sizes, captions.caption_sizes),
            ("survival", figures.draw_size_survival, captions.caption_size_survival),
        )
    }
    for key, draw, caption, shown in (
        ("trajectories", figures.draw_trajectories, captions.caption_trajectories, pairs),
        ("margins", figures.draw_margins, captions.caption_margins, with_foils),
        ("prompts", figures.draw_prompts, captions.caption_prompts, pairs),
    ):
        views = {f"{n},{i}": (to_json(draw(summary, c, i)), caption(summary, c, i)) for n, c, i in shown}
        drawn[key] = FigureViews(("capability", "size"), views, first)
    return drawn


def _describe_essence(summary: ScanSummary, records: ScanRecords) -> str:
    return (
        f"{plural(len(summary.capabilities), 'capability').replace('capabilitys', 'capabilities')} · "
        f"{plural(len(summary.sizes), 'size')}, {plural(summary.runs, 'run')} · "
        f"{summary.measured:,} of {plural(summary.listed, 'listed checkpoint')} measured, {len(records.missing):,} "
        f"missing · {records.spec.strategy} strategy · {records.spec.precision}"
    )


def _describe_status(summary: ScanSummary) -> str:
    if summary.finished:
        return ""
    return "This scan is not finished: seeds may emerge that are shown as without, and intervals may become narrower."


def _list_settings(records: ScanRecords) -> dict[str, dict[str, str]]:
    """All settings of the scan by group, a group for each capability."""
    dump = records.spec.model_dump(mode="json")
    scan = {key: value for key, value in dump.items() if key != "capabilities"}
    for key in ("sizes", "seeds"):
        scan[key] = scan[key] or "all"
    groups: dict[str, Mapping[str, Any]] = {"scan": {"folder": records.path.name} | scan}
    for capability in dump["capabilities"]:
        name = capability["kind"] if capability["kind"] not in groups else f"{capability['kind']} {len(groups)}"
        groups[name] = {key: value for key, value in capability.items() if key != "kind"}
    return {
        group: {key.replace("_", " "): format_setting(value) for key, value in values.items()}
        for group, values in groups.items()
    }
