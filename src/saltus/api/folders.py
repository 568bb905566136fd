"""Folders of results, whatever made them: ls, find, show, report."""

import hashlib
import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.console import Console

from saltus.errors import SaltusError
from saltus.lm.patching.folder import PatchFolder, list_patches
from saltus.lm.scanning.folder import ScanFolder, list_scans
from saltus.report.run.summary import emergence_table
from saltus.report.terminal.tables import tabulate_patch, tabulate_scan, tabulate_sizes
from saltus.train.folder import RunFolder, list_runs

if TYPE_CHECKING:
    from saltus.lm.audit.audit import AuditReport

DEFAULT_ROOT = Path("runs")
DEFAULT_REPORT = Path("report.html")

Folder = RunFolder | ScanFolder | PatchFolder


def ls(out: Path = DEFAULT_ROOT) -> list[Folder]:
    """The runs, scans and patch studies in `out`, each kind by name."""
    return [*list_runs(out), *list_scans(out), *list_patches(out)]


def find(name: str, out: Path = DEFAULT_ROOT) -> Folder:
    """The folder at the path `name`, or the one in `out` whose name starts with it."""
    if there := [folder for folder in ls(Path(name).parent) if folder.path.name == Path(name).name]:
        return there[0]
    there = ls(out)
    found = [f for f in there if f.path.name == name] or [f for f in there if f.path.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    listing = ", ".join(folder.path.name for folder in (found or there)) or "none"
    what = "is the beginning of more than one name" if found else "is no run, scan or patch study"
    raise SaltusError(f"{name!r} {what} in {out}; there are: {listing}")


def show(folder: Folder, console: Console | None = None) -> None:
    """Print what emerged when, or which heads brought it."""
    console = console or Console()
    match folder:
        case RunFolder():
            records = folder.records()
            console.print(emergence_table(records))
            for corner in records.facts.corners:
                console.print(f"note: {corner}", markup=False, highlight=False)
        case ScanFolder():
            scanned = folder.records()
            console.print(tabulate_scan(scanned))
            console.print(tabulate_sizes(scanned))
        case PatchFolder():
            table, verdict = tabulate_patch(folder.records())
            console.print(table)
            console.print(verdict, markup=False, highlight=False)


def report(folders: Sequence[Folder], to: Path = DEFAULT_REPORT) -> Path:
    """Write one self-contained HTML report; its absolute path.

    Of one or more runs, or of scans and patch studies: the two halves have reports of different kinds.
    """
    runs = [folder.records() for folder in folders if isinstance(folder, RunFolder)]
    scans = [folder.records() for folder in folders if isinstance(folder, ScanFolder)]
    patches = [folder.records() for folder in folders if isinstance(folder, PatchFolder)]
    if runs and (scans or patches):
        raise SaltusError(
            f"a report is of runs, or of scans and patch studies; {len(runs)} of one kind and "
            f"{len(scans) + len(patches)} of the other were given: write two reports"
        )
    if runs or not folders:
        from saltus.report.run.page import write_report

        write_report(runs, to)
    else:
        from saltus.report.checkpoints import write_checkpoint_report

        suites = dict.fromkeys(records.spec.suite for records in [*scans, *patches])
        audits = [audit.findings for suite in suites for audit in [find_audit(suite, folders[0].path.parent)] if audit]
        write_checkpoint_report(scans, patches, pa.concat_tables(audits) if audits else None, to)
    return to.resolve()


def find_audit(suite: str, out: Path = DEFAULT_ROOT) -> "AuditReport | None":
    """The audit of a suite under `out`, if there is a finished one."""
    from saltus.lm.audit.audit import read_audit

    folder = locate_audit(suite, out)
    return read_audit(folder) if (folder / "findings.parquet").exists() else None


def locate_audit(suite: str, out: Path = DEFAULT_ROOT) -> Path:
    """Where the audit of a suite lies under `out`, or will."""
    readable = re.sub(r"[^a-z0-9]+", "-", suite.lower()).strip("-")[-40:]
    return out / f"audit-{readable}-{hashlib.sha256(suite.encode()).hexdigest()[:10]}"


def summarise(*packages: str) -> dict[str, Any]:
    """Versions, machine and date, as they stand beside finished results."""
    versions = {name: version(name) for name in ("saltus", *packages, "numpy")}
    machine = {"system": platform.platform(), "processor": _name_processor(), "cores": os.cpu_count()}
    date = datetime.now(UTC).date().isoformat()
    return {"versions": {"python": platform.python_version(), **versions}, "machine": machine, "date": date}


def _name_processor() -> str:
    """As the kernel names it, which Python does not on every system."""
    listing = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", listing.read_text(), re.MULTILINE) if listing.exists() else []
    return names[0] if names else platform.processor()
