"""Kinds of records that a page can have sections of. A kind is added here, with the function that describes it."""

from collections.abc import Callable, Sequence
from typing import Any

from saltus.curves import Curves
from saltus.lm.audit.folder import AuditRecords
from saltus.lm.patching.records import PatchRecords
from saltus.lm.pocket.folder import PocketRecords
from saltus.lm.scanning.records import ScanRecords
from saltus.monitor.records import MonitorRecords
from saltus.report.audit.section import describe_audits
from saltus.report.curves.section import describe_curves
from saltus.report.html.blocks import Section
from saltus.report.monitor.section import describe_monitors
from saltus.report.patch.section import describe_patches
from saltus.report.pocket.section import describe_pockets
from saltus.report.run.section import describe_runs
from saltus.report.scan.section import describe_scans
from saltus.train.records import RunRecords

Records = RunRecords | ScanRecords | AuditRecords | PatchRecords | PocketRecords | MonitorRecords | Curves

SECTIONS: dict[type[Any], Callable[[Sequence[Any]], list[Section]]] = {
    RunRecords: describe_runs,
    ScanRecords: describe_scans,
    AuditRecords: describe_audits,
    PatchRecords: describe_patches,
    PocketRecords: describe_pockets,
    MonitorRecords: describe_monitors,
    Curves: describe_curves,
}
"""From a kind of records to its sections, in the order in which they stand on a page."""


def describe(records: Sequence[Records]) -> list[Section]:
    """The sections about any records, kind by kind, for `report.html.page.write_report`."""
    return [
        section
        for kind, describe_all in SECTIONS.items()
        if (chosen := [each for each in records if isinstance(each, kind)])
        for section in describe_all(chosen)
    ]
