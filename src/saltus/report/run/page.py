"""One HTML file that holds everything: figures, attention, numbers; it asks nothing of the network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saltus.errors import SaltusError
from saltus.report.html.page import format_setting, to_json, write_page
from saltus.report.run import captions, figures, head_figures
from saltus.report.run.attention import PackedPatterns, pack_patterns
from saltus.report.run.summary import RunSummary, UnitNumbers, describe_result, list_numbers, summarise
from saltus.specs import CustomSpec
from saltus.train.records import RunRecords

_MOST_SEEDS = 16  # that can be looked at one by one


@dataclass(frozen=True)
class _Figure:
    """A place in the page for one figure."""

    key: str
    caption: str
    seeded: bool
    """Whether it shows the chosen seed alone."""


@dataclass(frozen=True)
class _Section:
    """One run, as the template needs it."""

    summary: RunSummary
    numbers: list[UnitNumbers]
    headline: str
    status: str
    essence: str
    settings: dict[str, dict[str, str]]
    code: str
    """Of a module of the user's own; empty for others."""
    corners: tuple[str, ...]
    figures: dict[str, _Figure]
    seeds: list[int]
    chosen: int
    patterns_caption: str


def write_report(runs: Sequence[RunRecords], path: Path) -> None:
    """Write the report of some runs as one file, which appears whole or not at all."""
    if not runs:
        raise SaltusError("a report needs at least one run and none was given; name a run folder")
    sections, data = zip(*(_describe_run(records) for records in runs), strict=True)
    title = f"saltus: {', '.join(section.summary.name for section in sections)}"
    write_page("run.html.jinja", path, {"runs": data}, title=title, sections=sections)


def _describe_run(records: RunRecords) -> tuple[_Section, dict[str, Any]]:
    summary = summarise(records)
    indices = _choose_seeds(summary)
    chosen = figures.choose_seed(summary).seed
    index = [seed.seed for seed in summary.seeds].index(chosen)
    packed = pack_patterns(records, summary, indices)
    of_run = {
        "raster": (figures.draw_raster(summary), captions.caption_raster(summary)),
        "survival": (figures.draw_survival(summary), captions.caption_survival(summary)),
        "losses": (figures.draw_losses(records, summary), captions.caption_losses(records, summary)),
    }
    if records.measured_attention:
        of_run["overlap"] = head_figures.draw_overlap(records, summary), captions.caption_overlap(records, summary)
    of_seeds = {
        summary.seeds[i].seed: {
            "unit-losses": (
                figures.draw_unit_losses(records, summary, i),
                captions.caption_unit_losses(records, summary, i),
            ),
        }
        for i in indices
    }
    if records.measured_attention:
        for i in indices:
            jumps = head_figures.draw_jumps(records, summary, i), captions.caption_jumps(records, summary, i)
            of_seeds[summary.seeds[i].seed]["jumps"] = jumps
    places = {key: _Figure(key, caption, seeded=False) for key, (_, caption) in of_run.items()}
    places |= {key: _Figure(key, caption, seeded=True) for key, (_, caption) in of_seeds[chosen].items()}
    section = _Section(
        summary=summary,
        numbers=list_numbers(records, summary),
        headline=describe_result(summary),
        status=_describe_status(records, summary),
        essence=_describe_essence(records),
        settings=_list_settings(records),
        code=records.spec.model.source if isinstance(records.spec.model, CustomSpec) else "",
        corners=records.facts.corners,
        figures=places,
        seeds=[summary.seeds[i].seed for i in indices],
        chosen=chosen,
        patterns_caption=captions.caption_patterns(packed, summary) if packed else "",
    )
    data = {
        "name": records.spec.name,
        "chosen": summary.seeds[index].seed,
        "figures": {key: to_json(figure) for key, (figure, _) in of_run.items()},
        "seeds": {
            str(seed): {
                "figures": {key: to_json(figure) for key, (figure, _) in drawn.items()},
                "captions": {key: caption for key, (_, caption) in drawn.items()},
            }
            for seed, drawn in of_seeds.items()
        },
        "patterns": _label_rows(packed, summary) if packed else None,
    }
    return section, data


def _choose_seeds(summary: RunSummary) -> list[int]:
    """Indices of the seeds to look at one by one: all, or some from the best to the worst, spread evenly."""
    count = len(summary.seeds)
    if count <= _MOST_SEEDS:
        return list(range(count))
    ranked = sorted(
        range(count), key=lambda i: (-summary.seeds[i].learned, (summary.seeds[i].last or summary.seeds[i].task).after)
    )
    chosen = {ranked[int(place)] for place in np.linspace(0, count - 1, _MOST_SEEDS).round()}
    wanted = [seed.seed for seed in summary.seeds].index(figures.choose_seed(summary).seed)
    return sorted(chosen | {wanted})


def _label_rows(packed: PackedPatterns, summary: RunSummary) -> dict[str, Any]:
    """The patterns as the page reads them, with labels short enough to stand beside a row."""
    short = [row.removeprefix(f"{summary.noun} ") for row in packed.rows]
    return asdict(packed) | {"labels": [label if len(label) <= 6 else f"{label[:5]}…" for label in short]}


def _describe_status(records: RunRecords, summary: RunSummary) -> str:
    if records.finished:
        return ""
    return (
        f"This run is not finished: step {summary.end:,} of {records.spec.training.steps:,} is the last one recorded."
    )


def _describe_essence(records: RunRecords) -> str:
    spec = records.spec
    task = ", ".join(f"{key} {value}" for key, value in spec.task.model_dump(exclude={"kind"}).items())
    layers = f"{spec.model.layers} layer{'s'[: spec.model.layers > 1]}"
    heads = spec.model.layers * spec.model.attention_heads
    layers = f"{heads} heads in {layers}" if heads else layers
    own = f"{spec.model.name} (custom)" if isinstance(spec.model, CustomSpec) else spec.model.kind
    kind, model = (name.replace("_", " ") for name in (spec.task.kind, own))
    return (
        f"{kind} ({task}) · {model}, {layers}, width {spec.model.d_model} · "
        f"{spec.seeds} seed{'s'[: spec.seeds > 1]} · {spec.training.steps:,} steps"
    )


def _list_settings(records: RunRecords) -> dict[str, dict[str, str]]:
    """All settings of the run by group, those that are not set left out, and code, which has a place of its own."""
    dump = records.spec.model_dump(mode="json", exclude_none=True, exclude={"model": {"source"}})
    groups = {key: value for key, value in dump.items() if isinstance(value, Mapping)}
    groups = {"run": {key: value for key, value in dump.items() if key not in groups}} | groups
    return {
        group: {key.replace("_", " "): _format_setting(value) for key, value in values.items()}
        for group, values in groups.items()
    }


def _format_setting(value: Any) -> str:
    if isinstance(value, Mapping) and "every" not in value:
        return ", ".join(f"{key} {_format_setting(item)}" for key, item in value.items()) or "none"
    if isinstance(value, Mapping):
        return f"from {value['first']} by a factor of {value['factor']:g} up to {value['every']}, then every that many"
    return format_setting(value)
