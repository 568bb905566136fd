"""Curves as tables on a terminal: a line for each of a few, a line for each unit of many."""

from rich.table import Column, Table
from rich.text import Text

from saltus.curves import Curves
from saltus.report.curves.words import count_emerged
from saltus.report.html.labels import plural
from saltus.report.terminal.tables import tabulate_curves

_MOST_LINES = 60


def summarise_curves(curves: Curves) -> Table:
    """When each curve's unit emerged; of more than can be read, in how many curves of each unit, and when."""
    if len(curves) <= _MOST_LINES:
        return tabulate_curves(curves)
    found = curves.emergences()
    title = f"{count_emerged(found)} of {plural(len(found), 'curve')} emerged: {found.rule.describe(curves.measure)}"
    table = Table(
        Column("unit", overflow="fold"), "emerged", "first step with it, of all groups and seeds", title=Text(title)
    )
    for unit in curves.units:
        of_unit = found.unit(unit)
        steps = sorted(emergence.by for emergence in of_unit if emergence.by is not None)
        span = "" if not steps else f"{steps[0]:,}" if steps[0] == steps[-1] else f"{steps[0]:,} to {steps[-1]:,}"
        table.add_row(Text(unit), f"{len(steps)} of {len(of_unit)}", span)
    return table
