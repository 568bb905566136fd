"""What a monitored training came to, on a terminal."""

from rich.table import Table
from rich.text import Text

from saltus.monitor.records import MonitorRecords
from saltus.report.curves.words import describe_emergence
from saltus.report.html.labels import plural
from saltus.report.monitor.summary import count_sharp, describe_overhead, name_sharpest


def tabulate_monitor(records: MonitorRecords) -> list[Table]:
    """Capabilities; and known patterns with their strongest head."""
    tables: list[Table] = []
    if len(records.curves):
        found = records.curves.emergences()
        title = f"{records.spec.group}, seed {records.spec.seed}: {found.rule.describe(records.curves.measure)}"
        table = Table("capability", "emerged", "now", title=Text(title))
        for curve, emergence in zip(records.curves, found, strict=True):
            table.add_row(*map(Text, (curve.key.unit, describe_emergence(emergence), f"{curve.values[-1]:.0%}")))
        tables.append(table)
    if len(records.strongest):
        found = records.strongest.emergences()
        table = Table("pattern", "first head", "strongest head now", "chance", "heads with it now")
        table.title = Text(found.rule.describe("mass"))
        for curve, emergence in zip(records.strongest, found, strict=True):
            name = curve.key.unit
            now = f"{name_sharpest(records, name)}: {curve.values[-1]:.2f}"
            sharp, heads = count_sharp(records, name)
            cells = (name, describe_emergence(emergence), now, f"{curve.chance:.2f}", f"{sharp} of {heads}")
            table.add_row(*map(Text, cells))
        tables.append(table)
    return tables


def describe_monitor(records: MonitorRecords) -> str:
    """How much was measured, and what it cost."""
    notes = "".join(f"\nnote: {note}" for note in records.notes)
    end = f", the last at step {records.rows[-1].step:,}" if records.rows else ""
    return f"{plural(len(records.rows), 'probe')}{end}; {describe_overhead(records)}{notes}"
