"""The sections of a page that are about runs: one for each, and one that sets several side by side."""

from collections.abc import Callable, Mapping, Sequence

from plotly.graph_objects import Figure

from saltus.report.curves.raster import draw_raster
from saltus.report.curves.survival import Group, caption_survival, draw_survival
from saltus.report.curves.words import caption_raster, format_step, tell_limits, tell_rises
from saltus.report.html.blocks import Block, Chooser, Column, FigureViews, Folded, Part, Row, Section, Table, Text
from saltus.report.html.drawing import thin
from saltus.report.html.labels import plural
from saltus.report.html.palette import LINES
from saltus.report.html.settings import fold_settings
from saltus.report.html.step_scale import StepScale
from saltus.report.run import captions, figures, head_figures
from saltus.report.run.maps import pack_maps
from saltus.report.run.measures import draw_measures, tabulate_measures, tabulate_numbers
from saltus.report.run.summary import (
    RunSummary,
    SeedSummary,
    describe_free,
    describe_reliability,
    describe_result,
    find_rises,
    summarise,
)
from saltus.specs import RunSpec
from saltus.train.records import RunRecords

_MOST_SEEDS = 16  # that can be looked at one by one
_QUESTION = "When did it learn its task?"

_Draw = Callable[[RunRecords, RunSummary, int], Figure]
_Caption = Callable[[RunRecords, RunSummary, int], str]


def describe_runs(runs: Sequence[RunRecords]) -> list[Section]:
    """What to say of each run, after a comparison of several."""
    summaries = [summarise(records) for records in runs]
    sections = [_describe_run(records, summary) for records, summary in zip(runs, summaries, strict=True)]
    return [_compare(summaries), *sections] if len(runs) > 1 else sections


def _compare(summaries: Sequence[RunSummary]) -> Section:
    rows = [
        Row(
            (
                summary.name,
                len(summary.seeds),
                summary.solved,
                format_step(summary.median),
                f"{min(firsts):,} to {max(firsts):,}" if (firsts := summary.first_steps) else "\N{EN DASH}",
                f"{sum(s.learned for s in summary.seeds)} of {len(summary.seeds) * len(summary.units)}",
                f"{summary.end:,}",
            )
        )
        for summary in summaries
    ]
    names = ("seeds", "learned everything", "median step [95%]", "first unit, by step", "units learned", "steps run")
    note = "The median is Turnbull's over the seeds, of the whole task; ∞ is where the seeds set no limit. "
    note += tell_limits(min(len(summary.seeds) for summary in summaries))
    table = Table("", [Column("run", style="name"), *map(Column, names)], rows, note)
    solved = sum(summary.solved for summary in summaries)
    seeds = sum(len(summary.seeds) for summary in summaries)
    headline = f"{solved} of {plural(seeds, 'seed')} of {plural(len(summaries), 'run')} learned everything."
    return Section("The runs side by side", _QUESTION, headline, [table])


def _describe_run(records: RunRecords, summary: RunSummary) -> Section:
    noun, scale = summary.noun, StepScale(summary.end)
    chooser, seeds = _offer_seeds(summary)

    def follow_seed(key: str, title: str, alt: str, draw: _Draw, caption: _Caption) -> FigureViews:
        views = {f"{n}": (draw(records, summary, i), caption(records, summary, i)) for n, i in enumerate(seeds)}
        return FigureViews(key, title, alt, views, by=("seed",))

    groups = [
        Group("whole task", [seed.task for seed in summary.seeds], LINES[0]),
        Group(f"{noun}s, pooled", summary.parts, LINES[1], dash="5,3"),
    ]
    raster = draw_raster(summary.found, scale, whole=records.curves.whole), caption_raster(summary.parts, noun)
    losses = figures.draw_losses(records, summary, seeds), captions.caption_losses(records, summary)
    alt = f"Lines of the loss of each {noun} of the chosen seed over training steps"
    of_seed: list[Block] = [
        follow_seed("unit-losses", f"Loss of each {noun}", alt, figures.draw_unit_losses, captions.caption_unit_losses)
    ]
    if maps := pack_maps(records, summary, seeds):
        of_seed.append(maps)
    overlap: Block = Text("Attention was not measured in this run: it has no patterns, or they were not kept.")
    if records.measured_attention:
        alt = "Entropy and mass on the true keys of the best head, each aligned at its emergence, with the median"
        of_seed.append(follow_seed("jumps", "Around each jump", alt, head_figures.draw_jumps, captions.caption_jumps))
        alt = f"Dots of the best head's overlap with the true keys for each {noun}, beside bars of the chance level"
        view = head_figures.draw_overlap(records, summary), captions.caption_overlap(records, summary)
        overlap = FigureViews("overlap", "Did a head find the pattern?", alt, {"": view})
    return Section(
        name=summary.name,
        question=_QUESTION,
        headline=describe_result(summary),
        essence=_describe_essence(records.spec),
        blocks=[
            Text(describe_reliability(summary)),
            *([Text(free)] if (free := describe_free(records, summary)) else []),
            *map(Text, tell_rises(find_rises(records), noun)),
            *_warn(records, summary),
            *_fold(records),
            tabulate_measures(records),
            FigureViews(
                "raster",
                f"When each {noun} came",
                f"Heatmap of the step at which each {noun} emerged in each seed; the table of numbers holds the same",
                {"": raster},
            ),
            FigureViews(
                "survival",
                "How long seeds stay without",
                "Survival curves of the whole task, and of all units pooled, with the number at risk beneath",
                {"": (draw_survival(groups, scale), caption_survival(groups))},
            ),
            FigureViews(
                "losses",
                "Loss of each seed",
                "Lines of the loss of each seed over training steps, between the levels of chance and floor",
                {"": losses},
                marks=("seed",),
            ),
            Part("One seed at a time", [*of_seed, *draw_measures(records, seeds)], [chooser]),
            overlap,
            tabulate_numbers(records, summary),
        ],
    )


def _offer_seeds(summary: RunSummary) -> tuple[Chooser, list[int]]:
    """The seeds to look at one by one and their indices: all, or some from the best to the worst, spread evenly.

    The first to be shown is, of those that learned most, the one that was done soonest.
    """
    everything = range(len(summary.seeds))
    ranked = sorted(everything, key=lambda i: _rank(summary.seeds[i]))
    offered = sorted(ranked[place] for place in thin(len(ranked), _MOST_SEEDS))
    options = [f"{s.seed}: {s.learned} of {plural(len(summary.units), summary.noun)}" for s in summary.seeds]
    omitted = len(offered) < len(ranked)
    note = f"{len(offered)} of {plural(len(ranked), 'seed')}, from the best to the worst" if omitted else ""
    return Chooser("seed", "Seed", [options[i] for i in offered], offered.index(ranked[0]), note), offered


def _rank(seed: SeedSummary) -> tuple[int, int, int]:
    """Small for a seed that learned much, and soon."""
    return -seed.learned, (seed.last and seed.last.by) or 0, seed.seed


def _warn(records: RunRecords, summary: RunSummary) -> list[Text]:
    warnings: list[Text] = []
    if not records.finished:
        steps = f"step {summary.end:,} of {records.spec.training.steps:,} is the last one recorded."
        warnings.append(Text(f"This run is not finished: {steps}", "warning"))
    if records.facts.corners:
        text = "This task sits in a corner. A good score may not mean that the pattern was found:"
        warnings.append(Text(text, "warning", records.facts.corners))
    return warnings


def _describe_essence(spec: RunSpec) -> str:
    task = ", ".join(f"{key} {value}" for key, value in spec.task.model_dump(exclude={"kind", "source"}).items())
    heads, layers = spec.model.layers * spec.model.attention_heads, plural(spec.model.layers, "layer")
    size = f"{plural(heads, 'head')} in {layers}" if heads else layers
    parts = [(part.kind.replace("_", " "), getattr(part, "name", "")) for part in (spec.task, spec.model)]
    kind, model = (f"{name} ({kind})" if name else kind for kind, name in parts)
    return (
        f"{kind} ({task}) · {model}, {size}, width {spec.model.d_model} · "
        f"{plural(spec.seeds, 'seed')} · {spec.training.steps:,} steps"
    )


def _fold(records: RunRecords) -> list[Folded]:
    """All settings of the run by group, those that are not set left out."""
    dump = records.spec.model_dump(mode="json", exclude_none=True)
    groups = {key: value for key, value in dump.items() if isinstance(value, Mapping)}
    return fold_settings({"run": {key: value for key, value in dump.items() if key not in groups}} | groups)
