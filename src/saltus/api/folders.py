"""Folders that saltus made, whatever made them: ls, find, show, report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from saltus.arguments import DEFAULT_REPORT, DEFAULT_ROOT, AnyPath
from saltus.curves import Curves
from saltus.errors import SaltusError
from saltus.ingest.folder import CurvesFolder
from saltus.lm.audit.folder import AuditFolder, AuditRecords
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.patching.records import PatchRecords
from saltus.lm.pocket.folder import PocketFolder, PocketRecords
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.scanning.records import ScanRecords
from saltus.measure.rises import summarise_rises
from saltus.monitor.folder import MonitorFolder
from saltus.monitor.records import MonitorRecords
from saltus.report.curves.words import tell_rises
from saltus.report.pocket.section import say_progress
from saltus.report.run.summary import find_rises as find_run_rises
from saltus.report.scan.summary import find_rises as find_scan_rises
from saltus.report.terminal.curves import summarise_curves
from saltus.report.terminal.monitor import describe_monitor, tabulate_monitor
from saltus.report.terminal.notebook import open_console
from saltus.report.terminal.pocket import tabulate_pocket
from saltus.report.terminal.tables import (
    tabulate_audit,
    tabulate_orders,
    tabulate_patch,
    tabulate_run,
    tabulate_scan,
    tabulate_sizes,
)
from saltus.specs.checkpoints import EffectUnit
from saltus.train.folder import RunFolder
from saltus.train.records import RunRecords

FolderWithoutCurves = PatchFolder | AuditFolder | PocketFolder
Folder = RunFolder | ScanFolder | MonitorFolder | CurvesFolder | FolderWithoutCurves
Records = RunRecords | ScanRecords | PatchRecords | AuditRecords | PocketRecords | MonitorRecords | Curves

KINDS: tuple[type[Folder], ...] = (
    RunFolder,
    ScanFolder,
    PatchFolder,
    AuditFolder,
    PocketFolder,
    MonitorFolder,
    CurvesFolder,
)
"""What `ls`, `show`, `report` and `watch` know."""


@dataclass(frozen=True)
class Listing:
    """A folder in a list."""

    name: str
    kind: str
    what: str
    """In a few words; empty where the folder cannot be read."""
    state: str
    """How far it is, or why it cannot be read."""
    readable: bool


def ls(out: AnyPath = DEFAULT_ROOT) -> list[Folder]:
    """The folders of every kind in `out`, each kind by name; readable or not."""
    out = Path(out)
    return [folder for kind in KINDS for folder in kind.list(out)]


def describe(folder: Folder) -> Listing:
    """What is in a folder, and how far it is; of one that cannot be read, why."""
    try:
        what = _describe(folder)
        if folder.finished:
            folder.summary()
            state = "finished"
        elif folder.held:
            state = "being written"
        elif folder.failure is not None:
            state = f"failed: {folder.failure}"
        else:
            state = f"at step {steps[-1]}" if (steps := _list_steps(folder)) else "not finished"
    except Exception as error:  # noqa: BLE001 - of another user's folder anything may raise
        return Listing(folder.path.name, folder.kind, "", f"cannot be read: {error}", readable=False)
    return Listing(folder.path.name, folder.kind, what, state, readable=True)


def find(name: AnyPath, out: AnyPath = DEFAULT_ROOT) -> Folder:
    """The folder at the path `name`, or the one in `out` whose name starts with it."""
    name, out = str(name), Path(out)
    if there := [folder for folder in ls(Path(name).parent) if folder.path.name == Path(name).name]:
        return there[0]
    there = ls(out)
    found = [f for f in there if f.path.name == name] or [f for f in there if f.path.name.startswith(name)]
    if len(found) == 1:
        return found[0]
    listing = ", ".join(folder.path.name for folder in (found or there)) or "none"
    what = "is no run, scan, patch, audit, pocket suite, monitored training or set of curves"
    if found:
        what = "is the beginning of more than one name"
    raise SaltusError(f"{name!r} {what} in {out}; there are: {listing}")


def show(
    folder: Folder,
    console: Console | None = None,
    *,
    threshold: float | None = None,
    hold: int | None = None,
    capabilities: Sequence[str] = (),
    sizes: Sequence[str] = (),
    unit: EffectUnit | None = None,
) -> None:
    """Print what emerged when, or which heads brought it.

    `threshold` and `hold` stand in for those of the folder's rule; of a scan only these capabilities and sizes are
    shown, if any are named. The heads of a patch are in the order of their effects in `unit`, on the probability of the
    target if it is not given.
    """
    console = console or open_console()
    if (capabilities or sizes) and not isinstance(folder, ScanFolder):
        raise SaltusError(f"{folder.path} is a {folder.kind}; capabilities and sizes are chosen in scans alone")
    if unit is not None and not isinstance(folder, PatchFolder):
        raise SaltusError(f"{folder.path} is a {folder.kind}; unit is of the effects of patches alone")
    if not (threshold is None and hold is None) and isinstance(folder, FolderWithoutCurves):
        raise SaltusError(f"{folder.path} is a {folder.kind}, which has no curves that threshold and hold are for")
    match folder:
        case RunFolder():
            records = folder.records()
            records = records.reread(records.rule.change(threshold=threshold, hold=hold))
            console.print(tabulate_run(records))
            _print_lines(console, tell_rises(find_run_rises(records)))
            for corner in records.facts.corners:
                console.print(f"note: {corner}", markup=False, highlight=False)
        case ScanFolder():
            scanned = folder.records()
            scanned = scanned.reread(scanned.rule.change(threshold=threshold, hold=hold)).select(capabilities, sizes)
            console.print(tabulate_scan(scanned))
            console.print(tabulate_sizes(scanned))
            for table in tabulate_orders(scanned):
                console.print(table)
            _print_lines(console, tell_rises(find_scan_rises(scanned), "prompt set"))
        case PatchFolder():
            table, verdict = tabulate_patch(folder.records(), unit or "probability")
            console.print(table)
            console.print(verdict, markup=False, highlight=False)
        case MonitorFolder():
            watched = folder.records()
            watched = watched.reread(watched.rule.change(threshold=threshold, hold=hold))
            for table in tabulate_monitor(watched):
                console.print(table)
            console.print(describe_monitor(watched), markup=False, highlight=False)
        case AuditFolder():
            audited = folder.records()
            console.print(tabulate_audit(audited))
            console.print(Text(f"{audited.faults} faults in {len(audited.checkpoints)} checkpoints"), soft_wrap=True)
        case PocketFolder():
            console.print(tabulate_pocket(folder.records()))
        case CurvesFolder():
            read = folder.records()
            read = read.reread(read.rule.change(threshold=threshold, hold=hold))
            console.print(summarise_curves(read.curves))
            _print_lines(console, tell_rises(summarise_rises(read.curves, read.curves.parts.emergences())))
            for note in read.curves.notes:
                console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        case _:
            raise refuse_other(folder)


def _print_lines(console: Console, lines: Sequence[str]) -> None:
    """Sentences as they stand, however wide the terminal is."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def report(
    folders: Sequence[Folder],
    to: AnyPath = DEFAULT_REPORT,
    *,
    threshold: float | None = None,
    hold: int | None = None,
) -> Path:
    """Write one self-contained HTML report of runs, scans and patches; its absolute path.

    `threshold` and `hold` stand in for those of the folders' rules.
    """
    to = Path(to)
    from saltus.report.html.page import write_report
    from saltus.report.sections import describe as describe_sections

    require_once("report", folders)
    records: list[Records] = [read_folder(folder, threshold, hold) for folder in folders]
    suites = dict.fromkeys(each.spec.suite for each in records if isinstance(each, ScanRecords | PatchRecords))
    audits = [AuditFolder.of(folders[0].path.parent, suite) for suite in suites]
    named = {folder.path for folder in folders}
    records += [audit.records() for audit in audits if audit.finished and audit.path not in named]
    write_report(describe_sections(records), to)
    return to.resolve()


def _describe(folder: Folder) -> str:
    match folder:
        case RunFolder():
            run = folder.spec()
            return f"{run.seeds} seeds, {run.training.steps} steps"
        case ScanFolder():
            scan = folder.spec()
            return f"{scan.suite}: {', '.join(capability.kind for capability in scan.capabilities)}"
        case PatchFolder():
            patch = folder.spec()
            return f"{patch.capability.kind} in {patch.suite}, {patch.size}: {patch.donor} into {patch.recipient}"
        case AuditFolder():
            return folder.spec().suite
        case PocketFolder():
            return say_progress(folder.records())
        case MonitorFolder():
            watched = folder.spec()
            return f"{watched.group}, seed {watched.seed}: {', '.join((*watched.capabilities, *watched.patterns))}"
        case CurvesFolder():
            paths = folder.spec().paths
            return f"from {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _list_steps(folder: Folder) -> list[int]:
    """The steps that something that trains is known to have done."""
    match folder:
        case RunFolder():
            return folder.checkpoint_steps()
        case MonitorFolder():
            return [row.step for row in folder.rows()]
        case _:
            return []


def read_folder(folder: Folder, threshold: float | None = None, hold: int | None = None) -> Records:
    """The records of a folder, read by its own rule or with another threshold or hold."""
    match folder:
        case RunFolder() | ScanFolder() | MonitorFolder():
            records = folder.records()
            return records.reread(records.rule.change(threshold=threshold, hold=hold))
        case CurvesFolder():
            read = folder.records()
            return read.reread(read.rule.change(threshold=threshold, hold=hold)).curves
        case PatchFolder() | AuditFolder() | PocketFolder():
            return folder.records()
        case _:
            raise refuse_other(folder)


def require_once(command: str, given: Sequence[object]) -> None:
    """Refuse a folder that is given twice, under whatever name: it would count twice."""
    paths = [each.path.resolve() for each in given if isinstance(each, Folder)]
    if twice := [path for place, path in enumerate(paths) if path in paths[:place]]:
        raise SaltusError(f"{command}: {twice[0]} was given twice; give each folder once")


def refuse_other(given: object) -> SaltusError:
    """What is said of something else in the place of a folder."""
    return SaltusError(
        f"{given!r:.60} was given, and is no folder of results; give what saltus.api.find returns for its name"
    )
