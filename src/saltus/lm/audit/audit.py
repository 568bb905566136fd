"""Are a suite's checkpoints what they say they are? Each is read once; what its fingerprint tells is in `findings`.

FOLDER/
  suite.txt                    the name of the suite
  SIZE/SEED/STEP.safetensors   the fingerprint of a checkpoint
  findings.parquet, checkpoints.parquet
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from saltus.errors import SaltusError
from saltus.lm.audit.findings import Finding, Kind, Prints, judge
from saltus.lm.audit.fingerprint import (
    Fingerprint,
    measure_cosine,
    measure_distance,
    read_fingerprint,
    take_fingerprint,
    write_fingerprint,
)
from saltus.lm.suites.base import MissingCheckpoint, Run, Suite
from saltus.lm.suites.prefetch import Prefetcher
from saltus.lm.suites.pythia import KNOWN_FAULTS
from saltus.storage.files import explain_full_disk, hold, write_file

_UNUSABLE: tuple[Kind, ...] = ("missing", "identical", "start", "stray", "configuration", "not_finite")

AUDIT_TABLES: dict[str, pa.Schema] = {
    # One row for each finding.
    "findings": pa.schema(
        [
            ("size", pa.string()),
            ("seed", pa.string()),
            ("step", pa.int32()),  # null where it is the whole run
            ("other_size", pa.string()),  # of what it was compared with; null where there is none
            ("other_seed", pa.string()),
            ("other_step", pa.int32()),
            ("kind", pa.string()),
            ("severity", pa.string()),  # 'fault' or 'note'
            ("detail", pa.string()),
            ("value", pa.float64()),  # the statistic of the kind; null where there is none
        ]
    ),
    # One row for each checkpoint that could be read.
    "checkpoints": pa.schema(
        [
            ("size", pa.string()),
            ("seed", pa.string()),
            ("step", pa.int32()),
            ("sha256", pa.string()),
            ("parameters", pa.int64()),
            ("norm", pa.float64()),
            ("distance", pa.float64()),  # of the weights from those of the checkpoint before; null for the first
            ("cosine", pa.float64()),  # of the weights with those of the run's first checkpoint
        ]
    ),
}


@dataclass(frozen=True)
class AuditReport:
    """What an audit found."""

    path: Path
    suite: str
    findings: pa.Table
    checkpoints: pa.Table


class AuditListener(Protocol):
    """Hears of the progress of an audit."""

    def examined(self, run: Run, step: int, reason: str | None) -> None:
        """A checkpoint has been read, now or by an earlier audit; `reason` says why if it is missing."""
        ...


def audit_suite(
    suite: Suite, runs: Sequence[Run], folder: Path, listener: AuditListener, steps: Sequence[int] | None = None
) -> AuditReport:
    """Audit `runs`, all their steps or those in `steps`, and keep the result in `folder`.

    The fingerprint of each checkpoint is kept at once, and never taken again: a stopped audit resumes. To audit a suite
    whose checkpoints have changed, name another folder.
    """
    prints: dict[Run, dict[int, Fingerprint]] = {run: {} for run in runs}
    findings: list[Finding] = []
    wanted = [(run, step) for run in runs for step in suite.steps(run) if steps is None or step in steps]
    with hold(folder), explain_full_disk(folder), Prefetcher(suite) as prefetcher:
        _require_suite(folder, suite.name)
        paths = {(run, step): folder / run.size / run.seed / f"{step}.safetensors" for run, step in wanted}
        known = {key: fingerprint for key, path in paths.items() if (fingerprint := read_fingerprint(path))}
        unknown = [key for key in wanted if key not in known]
        following = dict(pairwise(unknown))
        for run, step in wanted:
            reason = None
            try:
                if (run, step) not in known:
                    found = take_fingerprint(prefetcher.get(run, step, following.get((run, step))))
                    write_fingerprint(paths[run, step], found)
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
        # the findings last: where they are, the audit is whole
        tables = {"checkpoints": _tabulate_checkpoints(prints), "findings": _tabulate_findings(findings, runs)}
        for name, table in tables.items():
            write_file(folder / f"{name}.parquet", partial(pq.write_table, table))
    return AuditReport(folder, suite.name, **tables)


def read_audit(folder: Path) -> AuditReport:
    """What `audit_suite` kept in `folder`."""
    try:
        tables = {name: pq.read_table(folder / f"{name}.parquet", schema=AUDIT_TABLES[name]) for name in AUDIT_TABLES}
        return AuditReport(folder, (folder / "suite.txt").read_text(), **tables)
    except (OSError, pa.ArrowInvalid) as error:
        raise SaltusError(f"{folder} holds no finished audit ({error}); run the audit again with it") from None


def faulty_steps(report: AuditReport, run: Run) -> dict[int, str]:
    """The steps of a run at which no checkpoint can be trusted, with the reason, for scans to treat as missing.

    A jump is not among them: the weights on both sides of it may be the run's own.
    """
    return {
        row["step"]: f"audit: {row['detail']}"
        for row in report.findings.to_pylist()
        if (row["size"], row["seed"]) == (run.size, run.seed)
        and row["severity"] == "fault"
        and row["kind"] in _UNUSABLE
        and row["step"] is not None
    }


def _require_suite(folder: Path, name: str) -> None:
    path = folder / "suite.txt"
    if path.exists() and (other := path.read_text()) != name:
        raise SaltusError(f"{folder} is an audit of {other}, not of {name}; name another folder")
    write_file(path, lambda partial: partial.write_text(name))


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
