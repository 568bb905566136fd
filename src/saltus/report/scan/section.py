"""The sections of a page that are about scans."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Figure

from saltus.lm.scanning.records import Question, ScanRecords
from saltus.report.curves.survival import caption_survival, draw_survival, list_groups
from saltus.report.curves.tables import EMERGENCE_COLUMNS, show_emergence, tabulate_groups
from saltus.report.curves.words import tell_rises
from saltus.report.html.blocks import Block, Chooser, Column, FigureViews, Folded, Part, Row, Section, Table, Text, View
from saltus.report.html.labels import plural, shorten
from saltus.report.html.settings import fold_settings
from saltus.report.html.step_scale import StepScale
from saltus.report.scan import captions, figures
from saltus.report.scan.patterns import caption_pattern, draw_pattern, tabulate_orders
from saltus.report.scan.summary import CapabilitySummary, ScanSummary, find_rises, list_missing, of_size, summarise_scan
from saltus.report.scan.tokens import find_tokens

_CAVEATS = {
    "grid": "",
    "bisect": "Checkpoints were searched by bisection, which takes for granted that what is solved stays solved.",
    "robust": "What comes and goes again between two measured checkpoints is not seen.",
}
_MOST_ROWS = 10_000  # of the table of numbers; prompts are left out of a longer one

_Draw = Callable[[ScanSummary, CapabilitySummary, str], Figure]
_Caption = Callable[[CapabilitySummary, str], str]


def describe_scans(scans: Sequence[ScanRecords]) -> list[Section]:
    """A section for each scan."""
    return [_describe_scan(records) for records in scans]


def _describe_scan(records: ScanRecords) -> Section:
    summary = summarise_scan(records)
    status = "This scan is not finished: seeds may emerge that are shown as without, and intervals may become narrower."
    caveat = _CAVEATS[records.spec.strategy]
    return Section(
        name=f"Scan of {summary.suite}",
        question="When did it emerge?",
        headline=captions.describe_scan(summary),
        essence=_describe_essence(summary, records),
        blocks=[
            *([] if summary.finished else [Text(status, "warning")]),
            *([Text(caveat)] if caveat else []),
            *_fold(records),
            _tabulate_prompts(summary),
            *_tabulate_missing(records),
            *(_list_findings(summary, records) if summary.capabilities and summary.sizes else []),
        ],
    )


def _list_findings(summary: ScanSummary, records: ScanRecords) -> list[Block]:
    names = [shorten(capability.name) for capability in summary.capabilities]
    size = captions.choose_size(summary, summary.capabilities[0])
    patterns = [Chooser("pattern", "Pattern", records.strongest.units)] if records.strongest else []
    choosers = (
        Chooser("capability", "Capability", names),
        Chooser("size", "Size", [shorten(name) for name in summary.sizes], size),
        *patterns,
    )
    overview = tabulate_groups({c.name: c.groups for c in summary.capabilities}, "capability")
    several = len(summary.sizes) * len(names) > 1
    part = Part(
        "One capability at a time" if len(names) > 1 else "In detail", _list_figures(summary, records), choosers
    )
    return [
        *([overview] if several else []),
        *map(Text, tell_rises(find_rises(records), "prompt set")),
        *tabulate_orders(records),
        part,
        _tabulate_numbers(summary, records),
    ]


def _list_figures(summary: ScanSummary, records: ScanRecords) -> list[FigureViews]:
    known = [(n, capability) for n, capability in enumerate(summary.capabilities) if capability.sets]
    pairs = [
        (n, capability, index, size)
        for n, capability in known
        for index, size in enumerate(summary.sizes)
        if of_size(capability.sets, size)
    ]
    foils = [pair for pair in pairs if any(np.isfinite(c.values).any() for c in pair[1].margin.select(group=pair[3]))]

    def follow_capability(key: str, title: str, alt: str, draw: Callable[[CapabilitySummary], View]) -> FigureViews:
        return FigureViews(key, title, alt, {f"{n}": draw(c) for n, c in known}, by=("capability",))

    def follow_both(key: str, title: str, alt: str, draw: _Draw, caption: _Caption, shown: Any = pairs) -> FigureViews:
        views = {f"{n},{i}": (draw(summary, c, size), caption(c, size)) for n, c, i, size in shown}
        return FigureViews(key, title, alt, views, by=("capability", "size"))

    def draw_sizes(capability: CapabilitySummary) -> View:
        return figures.draw_sizes(summary, capability), captions.caption_sizes(summary, capability, records.rule)

    def draw_groups(capability: CapabilitySummary) -> View:
        groups = list_groups(capability.sets)
        return draw_survival(groups, StepScale(summary.end, log=True)), caption_survival(
            groups, shorten(capability.name)
        )

    drawn = [
        follow_capability(
            "sizes",
            "Steps to emergence, by size",
            "Step at which the capability emerged in each seed of each size, with its interval, mean and median",
            draw_sizes,
        ),
        follow_capability(
            "survival",
            "How long seeds stay without",
            "Survival curves: share of seeds without the capability over training steps, a curve for each size",
            draw_groups,
        ),
        follow_both(
            "trajectories",
            "Probability of the target, by seed",
            "Lines of the probability of the target over training steps, one for each seed of the chosen size",
            figures.draw_trajectories,
            captions.caption_trajectories,
        ),
        FigureViews(
            "patterns",
            "The strongest head of each known pattern, by seed",
            "Lines of the mass of the strongest head over training steps, one for each seed of the chosen size",
            {
                f"{i},{n}": (draw_pattern(records, size, pattern), caption_pattern(records, size, pattern))
                for i, size in enumerate(summary.sizes)
                for n, pattern in enumerate(records.strongest.units)
                if records.strongest.select(group=size, unit=pattern)
            },
            by=("size", "pattern"),
        ),
        follow_both(
            "margins",
            "Margin over the foil, or gain within a passage, by seed",
            "Lines of the margin, or of the gain, over training steps, one for each seed of the chosen size",
            figures.draw_margins,
            captions.caption_margins,
            foils,
        ),
        follow_both(
            "prompts",
            "When each prompt came",
            "Heatmap of the step at which each prompt, and the set of them, emerged in each seed of the chosen size",
            figures.draw_prompts,
            captions.caption_prompts,
        ),
    ]
    return [figure for figure in drawn if figure.views]


def _tabulate_numbers(summary: ScanSummary, records: ScanRecords) -> Table:
    """A row for each run, capability, and its set and prompts; prompts are left out where they are too many."""
    numbers = list_numbers(summary, records)
    short = [row for row in numbers if row.strong]
    note = (
        "Emergence is between the last measured step without and the first with. Probabilities are those of the target "
        "at the first and at the last measured checkpoint."
    )
    if len(numbers) > _MOST_ROWS:
        where = f"{records.path.name}/records/probes.parquet"
        note += f" Single prompts ({len(numbers) - len(short):,} rows) are left out here; they are in {where}."
    keys = [Column(name, style="name") for name in ("size", "seed", "capability", "prompt")]
    ends = [Column("first_probability", digits=4), Column("last_probability", digits=4), Column("checkpoints")]
    columns = [*keys, *EMERGENCE_COLUMNS, *_name_tokens(records), Column("missing_inside"), *ends]
    rows = short if len(numbers) > _MOST_ROWS else numbers
    return Table("Every number", columns, rows, note, file=f"{records.path.name}.csv")


def _name_tokens(records: ScanRecords) -> list[Column]:
    return [Column("tokens_without"), Column("tokens_with")] if records.tokens else []


def list_numbers(summary: ScanSummary, records: ScanRecords) -> list[Row]:
    """By size, capability and seed: the set, then its prompts."""
    keys = ["size", "seed", "capability", "prompt"]
    ends = (
        records.probes.sort_by("step")
        .group_by(keys, use_threads=False)
        .aggregate([("probability", "first"), ("probability", "last"), ("step", "count")])
    )
    columns = [ends[name].to_pylist() for name in (*keys, "probability_first", "probability_last", "step_count")]
    by_prompt = {tuple(row[:4]): row[4:] for row in zip(*columns, strict=True)}
    found = {e.key: e for c in summary.capabilities for e in (*c.sets, *c.categories, *c.parts)}
    rows: list[Row] = []
    for size in summary.sizes:
        for capability in summary.capabilities:
            sets = records.list_sets(capability.name)[:-1]
            parts = {
                question: records.curves_of("probability", question.capability, question.category) for question in sets
            }
            for curve in capability.probability.select(group=size):
                seed = curve.key.seed
                of_set = (float(curve.values[0]), float(curve.values[-1]), len(curve.steps))
                numbers = {Question(capability.name): of_set} | {
                    question: (float(part.values[0]), float(part.values[-1]), len(part.steps))
                    for question in sets
                    for part in parts[question].select(group=size, seed=seed)
                }
                numbers |= {
                    Question(capability.name, prompt.number): by_prompt[size, seed, capability.name, prompt.number]
                    for prompt in capability.prompts
                }
                for question, values in numbers.items():
                    emergence = found[curve.key._replace(unit=question.unit)]
                    name = (question.category or "the set") if question.prompt is None else question.prompt
                    missing = " ".join(map(str, emergence.missing))
                    seen = find_tokens(records, emergence) if records.tokens else ()
                    cells = (size, seed, capability.name, name, *show_emergence(emergence), *seen, missing, *values)
                    rows.append(Row(cells, strong=question.prompt is None))
    return rows


def _tabulate_prompts(summary: ScanSummary) -> Table:
    columns = [Column("capability", style="name"), Column("prompt")]
    columns += [Column("text", style="text"), Column("target", style="text")]
    rows = [Row((c.name, p.number, p.text, p.target)) for c in summary.capabilities for p in c.prompts[:_MOST_ROWS]]
    every = sum(len(capability.prompts) for capability in summary.capabilities)
    title = "All prompts" if len(rows) == every else f"The first {_MOST_ROWS:,} prompts of each capability"
    return Table(title, columns, rows, folded=True)


def _tabulate_missing(records: ScanRecords) -> list[Table]:
    rows = [Row((m.size, m.seed, m.step, m.reason, m.widened or "nothing")) for m in list_missing(records)]
    columns = [Column("size", style="name"), Column("seed", style="name"), Column("step")]
    columns += [Column("reason", style="text"), Column("less_certain", style="text")]
    title = f"{plural(len(rows), 'checkpoint')} could not be measured"
    note = (
        "Where one lies between the last step without and the first step with, or after the last step without, the "
        "answer is so much less certain."
    )
    return [Table(title, columns, rows, note, folded=True)] if rows else []


def _describe_essence(summary: ScanSummary, records: ScanRecords) -> str:
    return (
        f"{plural(len(summary.capabilities), 'capability')} · {plural(len(summary.sizes), 'size')}, "
        f"{plural(summary.runs, 'run')} · {summary.measured:,} of {plural(summary.listed, 'listed checkpoint')} "
        f"measured, {len(records.missing):,} missing · {records.spec.strategy} strategy · {records.spec.precision}"
    )


def _fold(records: ScanRecords) -> list[Folded]:
    """All settings of the scan by group, a group for each capability."""
    dump = records.spec.model_dump(mode="json")
    scan = {key: value for key, value in dump.items() if key != "capabilities"}
    groups: dict[str, Mapping[str, Any]] = {
        "scan": {"folder": records.path.name}
        | scan
        | {key: scan[key] or "all" for key in ("sizes", "seeds")}
        | {"criteria": scan["criteria"] or "usual"}
    }
    for capability in dump["capabilities"]:
        name = capability["kind"] if capability["kind"] not in groups else f"{capability['kind']} {len(groups)}"
        groups[name] = {key: value for key, value in capability.items() if key != "kind"}
    return fold_settings(groups)
