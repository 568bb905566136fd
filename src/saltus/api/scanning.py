"""Scans of checkpoints: as one job here, as a job for each run elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from saltus.api.checkpoints import tell_joined_words
from saltus.arguments import DEFAULT_ROOT, AnyPath
from saltus.errors import SaltusError
from saltus.extras import require_extra
from saltus.lm.audit.folder import AuditFolder
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.suites.base import Run, Suite, select_runs, select_steps
from saltus.lm.suites.build import open_suite
from saltus.lm.suites.pythia import list_known_faults
from saltus.provenance import describe_provenance
from saltus.report.terminal.notebook import open_console
from saltus.specs.checkpoints import ScanSpec
from saltus.storage.files import remove

if TYPE_CHECKING:
    from saltus.engines.base import Engine, Outcome

_CHECKPOINT = ["size", "seed", "step"]

# Modules that load torch or transformers are imported late: listing and reporting must not wait for them.


@dataclass(frozen=True)
class ScanJob:
    """A scan to do in a folder under `root`, without what an audit under `out` found to be faulty."""

    spec: ScanSpec
    suite: Suite
    root: Path
    out: Path
    device: str
    remote: bool
    """As of `saltus.api.training.TrainJob`."""

    @property
    def names(self) -> list[str]:
        """Of the scan: its run, where it has only one."""
        return [" ".join(["scan of", *self.spec.sizes, "seed", *self.spec.seeds]) if self.remote else "scan"]

    @property
    def folder(self) -> ScanFolder:
        """Where it is done."""
        return ScanFolder.find(self.root, self.spec, "scan")

    def perform(self, console: Console) -> "Outcome":
        """Measure what is not measured."""
        from saltus.engines.base import PATIENCE, Outcome, await_free

        folder = self.folder
        if self.remote and not await_free([folder.path], PATIENCE):
            return Outcome(left=[folder.path])
        if not folder.finished:
            self._measure(folder, console)
        return Outcome()

    def _measure(self, folder: ScanFolder, console: Console) -> None:
        import torch

        from saltus.lm.scanning.scan import scan as scan_checkpoints
        from saltus.report.terminal.scan import ScanView

        unusable = _list_unusable(self.spec, self.suite, self.out)
        with folder.writing(self.spec), ScanView(folder.path.name, console) as view:
            scan_checkpoints(self.spec, self.suite, folder, view, torch.device(self.device), unusable)
            provenance = describe_provenance("torch", "transformers")
            folder.finish({"device": self.device, **view.account(), **provenance})


def scan(
    spec: ScanSpec,
    *,
    suite: Suite | None = None,
    out: AnyPath = DEFAULT_ROOT,
    device: str = "auto",
    engine: "Engine | None" = None,
    console: Console | None = None,
) -> ScanFolder:
    """Scan in a folder of its own under `out`: from the start, or from where an earlier call was interrupted.

    A finished scan is returned as it is, unless the suite has changed since: then it goes on with what is new, what
    could not be measured, and what has other weights. `suite` is opened by its name if it is not given. What an audit
    under `out` found to be faulty, or is known to be, is left out. An `engine` of `saltus.api.open_engine` stands in
    for `device`; one with several slots is sent a job for each run of the suite.
    """
    out = Path(out)
    console = console or open_console()
    folder = ScanFolder.find(out, spec, "scan")
    if folder.finished:
        folder.require(spec)
        if not _reopen(spec, suite, folder, out, console):
            return folder
    require_extra("lm", "a scan")
    from saltus.engines.local import LocalEngine

    suite = suite or open_suite(spec.suite)
    chosen: Engine = engine or LocalEngine.of(device, None, console)
    tell_joined_words(spec.capabilities, console)
    if chosen.slots == 1 or folder.has_answers:  # one writer goes on with what is there
        _send([ScanJob(spec, suite, out, out, chosen.device, not chosen.local)], chosen, console)
    else:
        _scan_by_run(spec, suite, folder, out, chosen, console)
    for note in (*folder.records().notes, *_list_gone(spec, suite, folder)):
        console.print(Text(f"{folder.path.name}: {note}"), soft_wrap=True)
    return folder


def _list_gone(spec: ScanSpec, suite: Suite, folder: ScanFolder) -> list[str]:
    """A sentence where checkpoints have rows that the suite lists no more: its labels or its place may be others."""
    listed = select_steps(suite, select_runs(suite, spec.sizes, spec.seeds), spec.steps)
    gone = [
        (run, step) for run in folder.runs() for step in folder.measured_steps(run) if step not in listed.get(run, ())
    ]
    if not gone:
        return []
    (run, step), count = gone[0], len(gone)
    return [
        f"the suite lists {count} of the measured checkpoints no more, such as {run} step {step}; their rows stay, so "
        f"move {folder.path} away and scan again if they belong to another suite"
    ]


def plan_scan(
    spec: ScanSpec,
    *,
    suite: Suite | None = None,
    out: AnyPath = DEFAULT_ROOT,
    device: str = "auto",
    engine: "Engine | None" = None,
) -> str:
    """Two sentences: the jobs that `scan` would send, and how long they take at most, as far as that is known."""
    require_extra("lm", "a plan")
    from saltus.engines.local import LocalEngine

    chosen: Engine = engine or LocalEngine.of(device, None, open_console())
    out, suite = Path(out), suite or open_suite(spec.suite)
    runs = select_runs(suite, spec.sizes, spec.seeds)
    jobs = 1 if chosen.slots == 1 else len(runs)
    checkpoints = sum(map(len, select_steps(suite, runs, spec.steps).values()))
    each = _find_seconds(spec, out, chosen.device)
    if each is None:
        known = f"how long that takes is not known: {out} has no finished scan of {spec.suite} on {chosen.device}"
    else:
        known = f"{checkpoints * each / 3600:,.2f} hours of a device at most, as the finished scans in {out} took"
    return f"{jobs} jobs of {len(runs)} runs, which have {checkpoints:,} checkpoints; {known}"


def _find_seconds(spec: ScanSpec, out: Path, device: str) -> float | None:
    """Seconds for each checkpoint of a suite, by the scans that are finished; None if there is none."""
    there = [each for each in ScanFolder.list(out) if each.finished and each.spec().suite == spec.suite]
    summaries = [summary for each in there if (summary := each.summary()).get("device") == device]
    loaded = sum(int(summary["checkpoints_loaded"]) for summary in summaries)
    return sum(sum(summary["seconds"].values()) for summary in summaries) / loaded if loaded else None


def _list_jobs(spec: ScanSpec, suite: Suite, folder: ScanFolder, out: Path, engine: "Engine") -> list[ScanJob]:
    """A job for each run of a scan, in folders beside the scan's."""
    root = out / f"{folder.path.name}.runs"
    specs = [
        spec.model_copy(update={"sizes": (run.size,), "seeds": (run.seed,)})
        for run in select_runs(suite, spec.sizes, spec.seeds)
    ]
    return [ScanJob(each, suite, root, out, engine.device, remote=True) for each in specs]


def _scan_by_run(
    spec: ScanSpec, suite: Suite, folder: ScanFolder, out: Path, engine: "Engine", console: Console
) -> None:
    """Each run in a folder of its own, which has one writer; then all of them in the folder of the scan."""
    jobs = _list_jobs(spec, suite, folder, out, engine)
    _send(jobs, engine, console)
    parts = [job.folder for job in jobs]
    with folder.writing(spec):
        folder.adopt(parts)
        folder.finish({"device": engine.device, **_add_up([part.summary() for part in parts]), **describe_provenance()})
    remove(jobs[0].root)


def _send(jobs: Sequence[ScanJob], engine: "Engine", console: Console) -> None:
    """Have scans done.

    Raises:
        SaltusError: if one of them failed, or is left to another process.

    """
    failed: dict[str, str] = {}
    for number, outcome in enumerate(engine.run(jobs), 1):
        failed |= outcome.failed
        failed |= {path.name: "another process is measuring it; wait for it" for path in outcome.left}
        if not engine.local:
            console.print(f"{number} of {len(jobs)} jobs are done", highlight=False)
    if failed:
        told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise SaltusError(f"{len(failed)} of {len(jobs)} scans failed, the others are kept: {told}")


def _add_up(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The account of scans together: checkpoints, and the seconds of each phase."""
    phases = dict.fromkeys(phase for summary in summaries for phase in summary["seconds"])
    counts = {name: sum(s[name] for s in summaries) for name in ("checkpoints_loaded", "checkpoints_missing")}
    return {**counts, "seconds": {phase: sum(s["seconds"].get(phase, 0.0) for s in summaries) for phase in phases}}


def _reopen(spec: ScanSpec, suite: Suite | None, folder: ScanFolder, out: Path, console: Console) -> bool:
    """Take back that a scan has finished, if its suite has changed since; whether it was."""
    from saltus.lm.scanning.changes import has_changed

    state = "is finished already; move it away to scan again"
    try:
        suite = suite or open_suite(spec.suite)
        with folder.writing(spec, again=True):
            if has_changed(spec, suite, folder, _list_unusable(spec, suite, out)):
                folder.reopen()
                console.print(Text(f"{folder.path} goes on, because {suite.name} has changed"), soft_wrap=True)
                return True
    except SaltusError as error:  # what is finished can be had without its suite
        state = f"is finished already; whether {spec.suite} has changed since could not be seen ({error})"
    console.print(Text(f"{folder.path} {state}"), soft_wrap=True)
    return False


def _list_unusable(spec: ScanSpec, suite: Suite, out: Path) -> dict[Run, dict[int, str]]:
    """By run, the steps that are not to be used and why: by an audit, or, of what it has not seen, by what is known."""
    from saltus.lm.audit.audit import faulty_steps

    audited = AuditFolder.of(out, suite.name)
    records = audited.records() if audited.finished else None
    seen = {tuple(row.values()) for row in records.checkpoints.select(_CHECKPOINT).to_pylist()} if records else set()
    unusable: dict[Run, dict[int, str]] = {}
    for run in select_runs(suite, spec.sizes, spec.seeds):
        known = list_known_faults(suite.name, run).items()
        known = {step: why for step, why in known if (run.size, run.seed, step) not in seen}
        unusable[run] = known | (faulty_steps(records, suite, run) if records else {})
    return unusable
