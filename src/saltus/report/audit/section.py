"""The section of a page that is about an audit."""

from collections.abc import Mapping, Sequence
from typing import Any

from saltus.lm.audit.folder import AuditRecords
from saltus.report.html.blocks import Block, Column, Row, Section, Table, Text
from saltus.report.html.labels import plural


def describe_audits(audits: Sequence[AuditRecords]) -> list[Section]:
    """A section for each audit."""
    return [_describe_audit(records) for records in audits]


def sort_findings(records: AuditRecords) -> list[dict[str, Any]]:
    """The rows of the findings, faults first."""
    return sorted(records.findings.to_pylist(), key=lambda row: row["severity"] != "fault")


def _describe_audit(records: AuditRecords) -> Section:
    rows = sort_findings(records)
    faults = sum(row["severity"] == "fault" for row in rows)
    headline = f"The audit found {plural(faults, 'fault')} and {plural(len(rows) - faults, 'note')}."
    return Section(
        name=f"Audit of {records.suite}",
        question="Are the checkpoints what they say they are?",
        headline=headline if rows else "The audit found nothing wrong with the checkpoints.",
        blocks=_list_blocks(rows) if rows else [],
    )


def _list_blocks(rows: Sequence[Mapping[str, Any]]) -> list[Block]:
    caveat = "A search over checkpoints is wrong, without a sign of it, on those that have a fault."
    names = [Column(name, style="name") for name in ("size", "seed", "step", "severity", "kind", "compared_with")]
    shown = [
        Row(
            (
                row["size"],
                row["seed"],
                row["step"],
                row["severity"],
                row["kind"],
                _name_other(row),
                row["detail"],
                value,
            )
        )
        for row in rows
        for value in [row["value"]]
    ]
    columns = [*names, Column("what", style="text"), Column("value")]
    return [Text(f"From the weights alone. {caveat}"), Table("Findings", columns, shown, file="findings.csv")]


def _name_other(row: Mapping[str, Any]) -> str:
    """What a finding compares its checkpoint with, as far as that is another one."""
    if row["other_step"] is None:
        return ""
    run = (row["other_size"], row["other_seed"])
    where = "" if None in run or run == (row["size"], row["seed"]) else f"{run[0]} seed {run[1]} "
    return f"{where}step {row['other_step']:,}"
