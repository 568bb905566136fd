"""Known patterns over a scan's checkpoints: which came first, the pattern or the capability."""

from collections.abc import Sequence
from dataclasses import dataclass

from plotly.graph_objects import Figure

from saltus.curves import Emergence, Rule
from saltus.lm.scanning.records import Question, ScanRecords
from saltus.measure.precedence import Precedence, compare_order
from saltus.report.curves.lines import draw_lines
from saltus.report.curves.words import name_runs
from saltus.report.html.blocks import Column, Row, Table
from saltus.report.html.labels import plural, shorten
from saltus.report.html.step_scale import StepScale


@dataclass(frozen=True)
class PatternOrder:
    """One known pattern against one capability in the seeds of one size."""

    capability: str
    size: str
    pattern: str
    chance: float
    order: Precedence
    """Of the pattern's first head before the capability."""


def compare_patterns(records: ScanRecords) -> list[PatternOrder]:
    """By capability, size and pattern; empty where no pattern was read."""
    strongest, sets = records.strongest, records.curves
    found, capabilities = strongest.emergences(), sets.emergences()
    chances = {curve.key.unit: curve.chance for curve in strongest}

    def choose(all_found: Sequence[Emergence], size: str, unit: str) -> list[Emergence]:
        return [emergence for emergence in all_found if (emergence.key.group, emergence.key.unit) == (size, unit)]

    orders = [
        PatternOrder(name, size, pattern, chances[pattern], compare_order(first, second))
        for name in records.capabilities
        for size in records.seeds
        for pattern in chances
        for first in [choose(found, size, pattern)]
        for second in [choose(capabilities, size, Question(name).unit)]
    ]
    return [order for order in orders if order.order.seeds]


def describe_lead(order: Precedence) -> str:
    """Such as `150 (50 to 300)`: the median in steps, and the range; empty where no seed has both."""
    if order.median_lead is None:
        return ""
    return f"{order.median_lead:,.0f} ({order.leads[0]:,} to {order.leads[-1]:,})"


def explain_order(rule: Rule) -> str:
    """What the counts and the steps of a table of orders are."""
    return (
        f"A pattern is there with the first head that has it: {rule.describe('mass')}. First is what was there at the "
        "latest where the other was still absent; where intervals overlap the order is not told. Steps are from the "
        "first checkpoint with the pattern to the first with the capability, the median and the range over the seeds "
        "that have both: negative where the capability came first. What comes first need not be a cause."
    )


def tabulate_orders(records: ScanRecords) -> list[Table]:
    """The table of a page; none where no pattern was read."""
    orders = compare_patterns(records)
    if not orders:
        return []
    names = [Column(name, style="name") for name in ("capability", "size", "pattern")]
    counts = [Column(name) for name in ("seeds", "pattern_first", "capability_first", "not_told", "neither")]
    rows = [
        Row(
            (
                *(each.capability, each.size, each.pattern, each.order.seeds, each.order.before, each.order.after),
                *(each.order.untold, each.order.neither, describe_lead(each.order), each.chance),
            )
        )
        for each in orders
    ]
    columns = [*names, *counts, Column("steps_ahead", "steps from pattern to capability"), Column("chance")]
    title = "Which came first: a known pattern, or the capability"
    return [Table(title, columns, rows, explain_order(records.strongest.rule), file="patterns.csv")]


def draw_pattern(records: ScanRecords, size: str, pattern: str) -> Figure:
    """The mass of the strongest head against step, a line for each seed of a size; a ring is where it is sharp."""
    curves = records.strongest.select(group=size, unit=pattern)
    scale = StepScale(records.end, log=True)
    names = name_runs([curve.key[:2] for curve in curves])
    levels = [(f"chance {chance:.2f}", chance) for chance in dict.fromkeys(curve.chance for curve in curves)]
    found = curves.emergences()
    return draw_lines(curves, names, scale, f"mass on {pattern}", found=found, levels=levels, limits=(-0.03, 1.05))


def caption_pattern(records: ScanRecords, size: str, pattern: str) -> str:
    """Of the lines of one pattern."""
    found = records.strongest.select(group=size, unit=pattern).emergences()
    came = sum(not emergence.censored for emergence in found)
    return (
        f"{shorten(pattern)} in {shorten(size)}: mass of the strongest head on random tokens that stand twice. A ring "
        f"is the first measured checkpoint at which a head has it, which {came} of {plural(len(found), 'seed')} came "
        "to; seeds have the colours of the lines above."
    )
