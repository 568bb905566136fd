"""The section of a page that is about curves, whatever they were read from."""

from collections.abc import Sequence
from math import isnan

from saltus.curves import Curve, Curves, Emergence
from saltus.measure.groups import summarise_groups
from saltus.measure.rises import summarise_rises
from saltus.report.curves.lines import choose_scale, draw_lines
from saltus.report.curves.raster import draw_raster, find_span
from saltus.report.curves.survival import caption_survival, draw_survival, list_groups
from saltus.report.curves.tables import tabulate_emergences, tabulate_groups
from saltus.report.curves.words import caption_raster, count_emerged, name_runs, tell_rises
from saltus.report.html.blocks import Block, Chooser, FigureViews, Part, Section, Text, View
from saltus.report.html.drawing import thin
from saltus.report.html.labels import plural, shorten
from saltus.report.html.step_scale import StepScale
from saltus.seeding import Streams

_MOST_UNITS = 64  # to choose from


def describe_curves(all_curves: Sequence[Curves]) -> list[Section]:
    """A section for each, read by its own rule."""
    return [_describe(curves) for curves in all_curves if len(curves)]


def _describe(curves: Curves) -> Section:
    found, scale = curves.emergences(), choose_scale(curves)
    pairs = list(zip(curves, found, strict=True))
    groups, units = curves.groups, [curves.units[place] for place in thin(len(curves.units), _MOST_UNITS)]
    seeds = {group: len(curves.seeds(group)) for group in groups}
    of_units = {unit: [e for e in found if e.key.unit == unit] for unit in units}
    generator = Streams(0).generator("bootstrap")
    summaries = {unit: summarise_groups(of_unit, seeds, curves.end, generator) for unit, of_unit in of_units.items()}
    of_groups = {group: [e for e in found if e.key.group == group] for group in groups}
    omitted = f"{len(units)} of {len(curves.units)} units, spread evenly" if len(units) < len(curves.units) else ""
    figures: list[Block] = [
        FigureViews(
            "survival",
            "How long seeds stay without",
            "Survival curves: share of seeds without the unit over training steps, a curve for each group",
            {f"{n}": _draw_survival(of_unit, unit, scale) for n, (unit, of_unit) in enumerate(of_units.items())},
            by=("unit",),
        ),
        FigureViews(
            "raster",
            "When each unit came",
            "Heatmap of the step at which each unit emerged in each seed of the group; the table below holds the same",
            {
                f"{n}": (
                    draw_raster(of_group, scale, whole=curves.whole, span=find_span(found)),
                    f"{shorten(group)}: {caption_raster(of_group)}",
                )
                for n, (group, of_group) in enumerate(of_groups.items())
            },
            by=("group",),
        ),
        FigureViews(
            "lines",
            f"{curves.measure}, by seed",
            f"Lines of {curves.measure} over training steps, one for each seed",
            {
                f"{n},{m}": _draw_lines(curves, chosen, scale)
                for n, group in enumerate(groups)
                for m, unit in enumerate(units)
                if (chosen := [(c, e) for c, e in pairs if (c.key.group, c.key.unit) == (group, unit)])
            },
            by=("group", "unit"),
        ),
    ]
    choosers = (
        Chooser("group", "Group", [shorten(group) for group in groups]),
        Chooser(
            "unit",
            "Unit",
            [shorten(unit) for unit in units],
            units.index(curves.whole) if curves.whole in units else 0,
            omitted,
        ),
    )
    several = len(groups) * len(units) > 1
    return Section(
        name=curves.measure,
        question="When did it emerge?",
        headline=f"{count_emerged(found)} of {plural(len(found), 'curve')} emerged: "
        f"{found.rule.describe(curves.measure)}.",
        essence=f"{plural(len(groups), 'group')} · {plural(sum(seeds.values()), 'seed')} · "
        f"{plural(len(curves.units), 'unit')} · {curves.end:,} steps",
        blocks=[
            *(Text(note, "warning") for note in curves.notes),
            *([tabulate_groups(summaries, "unit")] if several else []),
            *map(Text, tell_rises(summarise_rises(curves, curves.parts.emergences()))),
            Part("In detail", figures, choosers),
            tabulate_emergences(found, curves.whole, f"{curves.measure}.csv"),
        ],
    )


def _draw_survival(found: Sequence[Emergence], unit: str, scale: StepScale) -> View:
    groups = list_groups(found)
    return draw_survival(groups, scale), caption_survival(groups, shorten(unit))


def _draw_lines(curves: Curves, chosen: Sequence[tuple[Curve, Emergence]], scale: StepScale) -> View:
    lines, found = [curve for curve, _ in chosen], [emergence for _, emergence in chosen]
    names = name_runs([curve.key[:2] for curve in lines])
    first, rule = lines[0], curves.rule
    known = {"chance": first.chance, "ceiling": first.ceiling, "rule": float("nan") if rule.share else rule.level}
    levels = [(f"{name} {value:.3g}", value) for name, value in known.items() if not isnan(value)]
    title = f"{curves.measure} ({curves.unit_of_measure})" if curves.unit_of_measure else curves.measure
    text = f"A ring is where a seed's curve came to the rule: {rule.describe(curves.measure)}."
    return draw_lines(lines, names, scale, title, found=found, levels=levels), text
