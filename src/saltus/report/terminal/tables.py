"""What a scan, a patch study and an audit found, as tables on a terminal."""

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from saltus.lm.records import PatchRecords, ScanRecords
from saltus.measure.scans import SizeSummary, Unit, find_scan_emergences, summarise_sizes
from saltus.report.patch.summary import describe_verdict, summarise_patch

_SHOWN_HEADS = 10


def tabulate_scan(records: ScanRecords) -> Table:
    """For each capability, size and seed the interval in which the set emerged, and the summary over seeds."""
    table = Table("capability", "size", "seed", "emerged in", "lost at", "prompts that emerged", title=_title(records))
    found = find_scan_emergences(records)
    sets = [unit for unit in dict.fromkeys(item.unit for item in found) if unit.prompt is None]
    for unit in sets:
        for item in (item for item in found if item.unit == unit):
            prompts = [
                other.emergence.by is not None
                for other in found
                if other.unit.capability == unit.capability
                and other.unit.prompt is not None
                and (other.size, other.seed) == (item.size, item.seed)
            ]
            emergence = item.emergence
            interval = (
                f"not by {emergence.after:,}" if emergence.by is None else f"({emergence.after:,}, {emergence.by:,}]"
            )
            lost = "" if emergence.lost is None else f"{emergence.lost:,}"
            row = (unit.capability, item.size, item.seed, interval, lost, f"{sum(prompts)} of {len(prompts)}")
            table.add_row(*(Text(cell) for cell in row))
        table.add_section()
    return table


def tabulate_sizes(records: ScanRecords) -> Table:
    """For each capability and size the number of seeds, and both summaries of the step."""
    table = Table("capability", "size", "seeds", "emerged", "median step (Kaplan-Meier)", "mean as in the paper")
    names = dict.fromkeys(records.prompts["capability"].to_pylist())
    for name in names:
        for size in summarise_sizes(records, Unit(name, None)):
            cells = (name, size.size, str(size.emerged + size.censored), str(size.emerged), _format_median(size))
            table.add_row(*(Text(cell) for cell in cells), f"{size.paper_mean:,.0f}")
    return table


def tabulate_patch(records: PatchRecords) -> tuple[Table, str]:
    """The heads whose patterns change the target's probability most, and the verdict in words."""
    study = summarise_patch(records)
    heads = sorted(
        (head for head in study.effects.heads if head.kind == "patch"), key=lambda head: -abs(head.effect.estimate)
    )
    table = Table("layer", "head", "change of the target's probability")
    for head in heads[:_SHOWN_HEADS]:
        interval = f"{head.effect.estimate:+.3f} [{head.effect.lower:+.3f}, {head.effect.upper:+.3f}]"
        table.add_row(str(head.layer), str(head.head), Text(interval))
    return table, describe_verdict(study)


def tabulate_findings(findings: pa.Table) -> Table:
    """Faults first, then notes."""
    table = Table("severity", "kind", "size", "seed", "step", "what")
    rows = findings.to_pylist()
    for row in [row for kind in ("fault", "note") for row in rows if row["severity"] == kind]:
        step = "" if row["step"] is None else f"{row['step']:,}"
        cells = (row["severity"], row["kind"], row["size"], row["seed"], step, row["detail"])
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _title(records: ScanRecords) -> Text:
    listed = sum(len(steps) for steps in records.runs["steps"].to_pylist())
    measured = len({tuple(row.values()) for row in records.probes.select(["size", "seed", "step"]).to_pylist()})
    state = "" if records.finished else ", not finished"
    missing = f", {len(records.missing)} missing" if len(records.missing) else ""
    return Text(f"{records.spec.suite}: {measured} of {listed} checkpoints measured{missing}{state}")


def _format_median(size: SizeSummary) -> str:
    if size.median is None:
        return "not reached"
    lower, upper = ("\N{EN DASH}" if end is None else f"{end:,.0f}" for end in size.median_band)
    return f"{size.median:,.0f} [{lower}, {upper}]"
