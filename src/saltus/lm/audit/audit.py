"""Are a suite's checkpoints what they say they are? Each is read once; what its fingerprint tells is in `findings`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from saltus.lm.audit.findings import Finding, Kind, Prints, judge
from saltus.lm.audit.fingerprint import (
    Fingerprint,
    measure_cosine,
    measure_distance,
    take_fingerprint,
)
from saltus.lm.audit.folder import AUDIT_TABLES, AuditFolder, AuditRecords
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite, UnreachableCheckpoint, locate_checkpoint
from saltus.lm.suites.content import Content
from saltus.lm.suites.prefetch import Prefetcher
from saltus.lm.suites.pythia import KNOWN_FAULTS

_UNUSABLE: tuple[Kind, ...] = ("identical", "start", "stray", "mixed", "configuration", "not_finite")
"""What makes a checkpoint that is there one that cannot be trusted."""


class AuditListener(Protocol):
    """Hears of the progress of an audit."""

    def examined(self, run: Run, step: int, reason: str | None) -> None:
        """A checkpoint has been read, now or by an earlier audit; `reason` says why if it is missing."""
        ...


def audit_suite(
    suite: Suite, runs: Sequence[Run], folder: AuditFolder, listener: AuditListener, steps: Sequence[int] | None = None
) -> None:
    """Audit `runs`, all their steps or those in `steps`, and keep the result in `folder`, which must be held.

    The fingerprint of each checkpoint is kept at once, and taken again where the files are here and others than they
    were: a stopped audit resumes, and a repaired checkpoint is looked at again. One that cannot be reached now, and was
    never looked at, is passed over.
    """
    prints: dict[Run, dict[int, Fingerprint]] = {run: {} for run in runs}
    findings: list[Finding] = []
    wanted = [(run, step) for run in runs for step in suite.steps(run) if steps is None or step in steps]
    with Prefetcher(suite) as prefetcher:
        known = {key: fingerprint for key in wanted if (fingerprint := _recall(suite, folder, *key))}
        unknown = [key for key in wanted if key not in known]
        following = dict(pairwise(unknown))
        for run, step in wanted:
            reason = None
            try:
                if (run, step) not in known:
                    found = take_fingerprint(prefetcher.get(run, step, following.get((run, step))))
                    folder.keep(run, step, found)
                    known[run, step] = found
                prints[run][step] = known[run, step]
            except MissingCheckpoint as error:
                reason = str(error)
                if not isinstance(error, UnreachableCheckpoint):
                    findings.append(Finding(run, step, "missing", "fault", reason))
            listener.examined(run, step, reason)
    findings += judge(prints)
    findings += [
        Finding(run, step, "known", "note", fault.text)
        for fault in (KNOWN_FAULTS if suite.name in ("pythia", "polypythias") else ())
        for run in runs
        if run == Run(fault.size, fault.seed)
        for step in fault.steps or (None,)
    ]
    folder.commit({"checkpoints": _tabulate_checkpoints(prints), "findings": _tabulate_findings(findings, runs)})


def faulty_steps(records: AuditRecords, suite: Suite, run: Run) -> dict[int, str]:
    """The steps of a run at which a checkpoint is there and cannot be trusted, with the reason, for scans to leave out.

    A jump is not among them: the weights on both sides of it may be the run's own. What was found of files that are
    here and others than those that were audited, or compared with such, is forgotten.
    """
    contents = {
        (Run(row["size"], row["seed"]), row["step"]): Content(row["bytes"], row["modified"], row["content"])
        for row in records.checkpoints.to_pylist()
        if row["bytes"] is not None
    }

    def is_as_audited(run: Run, step: int) -> bool:
        place, content = locate_checkpoint(suite, run, step), contents.get((run, step))
        return place is None or content is None or content.is_of(place)

    return {
        row["step"]: f"audit: {row['detail']}"
        for row in records.findings.to_pylist()
        if (row["size"], row["seed"]) == (run.size, run.seed)
        and row["severity"] == "fault"
        and row["kind"] in _UNUSABLE
        and row["step"] is not None
        and is_as_audited(run, row["step"])
        and (row["other_step"] is None or is_as_audited(Run(row["other_size"], row["other_seed"]), row["other_step"]))
    }


def _recall(suite: Suite, folder: AuditFolder, run: Run, step: int) -> Fingerprint | None:
    """The kept fingerprint of a checkpoint, unless its files are here and others than they were, or may be."""
    kept, place = folder.fingerprint(run, step), locate_checkpoint(suite, run, step)
    if kept is None or place is None:
        return kept
    with suppress(MissingCheckpoint):
        if kept.content is not None and kept.content.is_of(place):
            return kept
    return None


def _tabulate_findings(findings: Sequence[Finding], runs: Sequence[Run]) -> pa.Table:
    def sort(finding: Finding) -> tuple[int, int, str]:
        return runs.index(finding.run), -1 if finding.step is None else finding.step, finding.kind

    rows = [
        {
            "size": finding.run.size,
            "seed": finding.run.seed,
            "step": finding.step,
            "other_size": finding.other[0].size if finding.other else None,
            "other_seed": finding.other[0].seed if finding.other else None,
            "other_step": finding.other[1] if finding.other else None,
            "kind": finding.kind,
            "severity": finding.severity,
            "detail": finding.detail,
            "value": finding.value,
        }
        for finding in sorted(findings, key=sort)
    ]
    return pa.Table.from_pylist(rows, schema=AUDIT_TABLES["findings"])


def _tabulate_checkpoints(prints: Mapping[Run, Prints]) -> pa.Table:
    rows: list[dict[str, object]] = []
    for run, of_run in prints.items():
        before: Fingerprint | None = None
        for step in sorted(of_run):
            here = of_run[step]
            rows.append(
                {
                    "size": run.size,
                    "seed": run.seed,
                    "step": step,
                    "sha256": here.sha256,
                    "parameters": here.parameters,
                    "norm": here.norm,
                    "distance": None if before is None else measure_distance(before, here),
                    "cosine": measure_cosine(of_run[min(of_run)], here),
                    "bytes": here.content and here.content.bytes,
                    "modified": here.content and here.content.modified,
                    "content": here.content and here.content.sha256,
                }
            )
            before = here
    return pa.Table.from_pylist(rows, schema=AUDIT_TABLES["checkpoints"])
