"""Tables of emergences."""

from collections.abc import Mapping, Sequence

from saltus.curves import Emergence
from saltus.measure.groups import GroupSummary
from saltus.report.curves.words import format_step, tell_limits
from saltus.report.html.blocks import Beyond, Cell, Column, Row, Table

EMERGENCE_COLUMNS = (Column("last_step_without"), Column("first_step_with"), Column("lost_at"))


def show_emergence(emergence: Emergence) -> tuple[Cell, ...]:
    """The cells of `EMERGENCE_COLUMNS`."""
    first = Beyond(max(emergence.after, 0)) if emergence.by is None else emergence.by
    return (emergence.after if emergence.after >= 0 else None, first, emergence.lost)


def tabulate_emergences(found: Sequence[Emergence], whole: str, file: str) -> Table:
    """Every emergence, with the steps that its interval lacks; those of the unit `whole` stand out."""
    keys = (Column("group", style="name"), Column("seed", style="name"), Column("unit", style="name"))
    rows = [Row((*e.key, *show_emergence(e), " ".join(map(str, e.missing))), strong=e.key.unit == whole) for e in found]
    note = "Emergence is between the last step without and the first step with."
    columns = (*keys, *EMERGENCE_COLUMNS, Column("missing_inside"))
    return Table("Every emergence", columns, rows, note=note, file=file)


def tabulate_groups(summaries: Mapping[str, Sequence[GroupSummary]], unit: str) -> Table:
    """For each unit, and each group of it, how many seeds had it, and when; `unit` is what a unit is called."""
    groups = [summary.group for summary in next(iter(summaries.values()))]
    rows = [Row((name, *map(_show_group, of_unit))) for name, of_unit in summaries.items()]
    measured = [summary.measured for groups in summaries.values() for summary in groups if summary.measured]
    note = (
        "Seeds in which it emerged, of those measured; then the step by which half of them had it (Turnbull's median) "
        "with its 95% limits, ∞ where the data set none."
    )
    note += f" {tell_limits(min(measured))}" if measured else ""
    columns = (Column(unit, style="name"), *(Column(group) for group in groups))
    return Table("How many seeds, and when", columns, rows, note=note)


def _show_group(summary: GroupSummary) -> str:
    median = "" if summary.median is None else f" · {format_step(summary.median)}"
    return f"{summary.emerged} of {summary.measured}{median}"
