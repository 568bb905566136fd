"""Are a suite's checkpoints what they say they are? Each is read once; what its fingerprint tells is in `findings`."""

from collections.abc import Mapping, Sequence
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
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite
from saltus.lm.suites.prefetch import Prefetcher
from saltus.lm.suites.pythia import KNOWN_FAULTS

_UNUSABLE: tuple[Kind, ...] = ("missing", "identical", "start", "stray", "configuration", "not_finite")


class AuditListener(Protocol):
    """Hears of the progress of an audit."""

    def examined(self, run: Run, step: int, reason: str | None) -> None:
        """A checkpoint has been read, now or by an earlier audit; `reason` says why if it is missing."""
        ...


def audit_suite(
    suite: Suite, runs: Sequence[Run], folder: AuditFolder, listener: AuditListener, steps: Sequence[int] | None = None
) -> None:
    """Audit `runs`, all their steps or those in `steps`, and keep the result in `folder`, which must be held.

    The fingerprint of each checkpoint is kept at once, and never taken again: a stopped audit resumes.
    """
    prints: dict[Run, dict[int, Fingerprint]] = {run: {} for run in runs}
    findings: list[Finding] = []
    wanted = [(run, step) for run in runs for step in suite.steps(run) if steps is None or step in steps]
    with Prefetcher(suite) as prefetcher:
        known = {key: fingerprint for key in wanted if (fingerprint := folder.fingerprint(*key))}
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
                findings.append(Finding(run, step, "missing", "fault", reason))
            listener.examined(run, step, reason)
    findings += judge(prints)
    findings += [
        Finding(run, fault.step, "known", "note", fault.text)
        for fault in (KNOWN_FAULTS if suite.name in ("pythia", "polypythias") else ())
        for run in runs
        if run == Run(fault.size, fault.seed)
    ]
    folder.commit({"checkpoints": _tabulate_checkpoints(prints), "findings": _tabulate_findings(findings, runs)})


def faulty_steps(records: AuditRecords, run: Run) -> dict[int, str]:
    """The steps of a run at which no checkpoint can be trusted, with the reason, for scans to treat as missing.

    A jump is not among them: the weights on both sides of it may be the run's own.
    """
    return {
        row["step"]: f"audit: {row['detail']}"
        for row in records.findings.to_pylist()
        if (row["size"], row["seed"]) == (run.size, run.seed)
        and row["severity"] == "fault"
        and row["kind"] in _UNUSABLE
        and row["step"] is not None
    }


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
                }
            )
            before = here
    return pa.Table.from_pylist(rows, schema=AUDIT_TABLES["checkpoints"])
