"""One HTML file on checkpoints of language models: when capabilities emerged, and which heads brought them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from saltus.errors import SaltusError
from saltus.lm.records import PatchRecords, ScanRecords
from saltus.report.html.labels import plural
from saltus.report.html.page import write_page
from saltus.report.html.palette import DIVERGING
from saltus.report.patch.section import describe_patch_section
from saltus.report.scan.section import describe_scan_section


@dataclass(frozen=True)
class _Audit:
    """Findings of an audit, faults first."""

    headline: str
    findings: list[dict[str, Any]]


def write_checkpoint_report(
    scans: Sequence[ScanRecords], patches: Sequence[PatchRecords], audit: pa.Table | None, path: Path
) -> None:
    """Write the report of scans and patch studies as one file, which appears whole or not at all.

    `audit` has the findings of an audit of the suite (`saltus.lm.audit.audit.AUDIT_TABLES`), or is None.
    """
    if not scans and not patches:
        raise SaltusError("a report needs at least one scan or patch study and none was given; name a folder")
    scanned = [describe_scan_section(records) for records in scans]
    patched = [describe_patch_section(records) for records in patches]
    title = "Which heads brought it?"
    if scanned:
        title = "When did it emerge, and which heads brought it?" if patched else "When did it emerge?"
    sections = [*scanned, *patched]
    write_page(
        "checkpoints.html.jinja",
        path,
        {"sections": [section.data for section in sections]},
        title=f"saltus: {', '.join(section.name for section in sections)}",
        heading=title,
        scans=scanned,
        patches=patched,
        audit=None if audit is None else _describe_audit(audit),
        diverging=[", ".join(stops) for stops in DIVERGING],
    )


def _describe_audit(findings: pa.Table) -> _Audit:
    rows = [row for fault in (True, False) for row in findings.to_pylist() if (row["severity"] == "fault") is fault]
    faults = sum(row["severity"] == "fault" for row in rows)
    if not rows:
        return _Audit("The audit found nothing wrong with the checkpoints.", [])
    headline = f"The audit found {plural(faults, 'fault')} and {plural(len(rows) - faults, 'note')}."
    return _Audit(headline, [row | {"other": _name_other(row)} for row in rows])


def _name_other(row: Mapping[str, Any]) -> str:
    """What a finding compares its checkpoint with, as far as that is another one."""
    if row.get("other_step") is None:
        return ""
    run = (row.get("other_size"), row.get("other_seed"))
    where = "" if None in run or run == (row["size"], row["seed"]) else f"{run[0]} seed {run[1]} "
    return f"{where}step {row['other_step']:,}"
