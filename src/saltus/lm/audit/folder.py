"""The folder of an audit: each checkpoint is read once, and what its fingerprint tells is in `findings`.

audit-SUITE-HASH/
  audit.json                               the suite
  fingerprints/SIZE/SEED/STEP.safetensors  the fingerprint of a checkpoint
  records/                                 findings and checkpoints, of the newest audit
  finished.json                            versions, machine, duration
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pyarrow as pa

from saltus.lm.audit.fingerprint import Fingerprint, read_fingerprint, write_fingerprint
from saltus.lm.suites.base import Run
from saltus.specs.checkpoints import AuditSpec
from saltus.storage.files import explain_full_disk, remove, write_folder
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import read_table, verify, write_table

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
            ("bytes", pa.int64()),  # of its files; null, as the next two, where version 0.1 read them
            ("modified", pa.int64()),  # of their last changes, as in a `Stamp`
            ("content", pa.string()),  # the hash of the files
        ]
    ),
}
_LATER = ("bytes", "modified", "content")
"""Columns that version 0.1 did not write."""


@dataclass(frozen=True)
class AuditRecords:
    """What an audit found."""

    path: Path
    suite: str
    findings: pa.Table
    checkpoints: pa.Table

    @property
    def faults(self) -> int:
        """Findings that are faults, and not notes."""
        return self.findings["severity"].to_pylist().count("fault")


class AuditFolder(Folder[AuditSpec]):
    """One audit on disk. It may be written again when it is finished: for other runs, or for the same ones later."""

    kind: ClassVar[str] = "audit"
    description: ClassVar[str] = "audit.json"
    specs: ClassVar[type[AuditSpec]] = AuditSpec

    @property
    def finished(self) -> bool:
        """Whether an audit has been done, of whichever runs."""
        return super().finished or self._is_former

    @property
    def _is_former(self) -> bool:
        """Whether version 0.1 did the last audit: its tables and fingerprints lie in the folder itself."""
        return (self.path / "findings.parquet").exists() and not super().finished

    @classmethod
    def of(cls, root: Path, suite: str) -> "AuditFolder":
        """The folder of a suite's audit under `root`, which need not exist."""
        readable = re.sub(r"[^a-z0-9]+", "-", suite.lower()).strip("-")[-40:]
        return cls.find(root, AuditSpec(suite=suite), f"audit-{readable}")

    def spec(self) -> AuditSpec:
        """As `Folder.spec`; version 0.1 wrote the name of the suite alone."""
        former = self.path / "suite.txt"
        if (self.path / self.description).exists() or not former.exists():
            return super().spec()
        return AuditSpec(suite=former.read_text(encoding="utf-8"))

    def fingerprint(self, run: Run, step: int) -> Fingerprint | None:
        """The fingerprint of a checkpoint; None where it was not kept, or is damaged."""
        former = self.path / run.size / run.seed / f"{step}.safetensors"
        return read_fingerprint(self._locate(run, step)) or read_fingerprint(former)

    def keep(self, run: Run, step: int, fingerprint: Fingerprint) -> None:
        """Write the fingerprint of a checkpoint, which is then not taken again while its files are the same."""
        path = self._locate(run, step)
        self._write(path, lambda partial: write_fingerprint(partial, fingerprint))

    def commit(self, tables: Mapping[str, pa.Table]) -> None:
        """Write the tables of `AUDIT_TABLES` in place of those of an earlier audit."""

        def write(folder: Path) -> None:
            for name, schema in AUDIT_TABLES.items():
                write_table(tables[name].cast(schema), folder / f"{name}.parquet")

        with explain_full_disk(self.path):
            remove(self.path / "records")
            write_folder(self.path / "records", write)

    def records(self) -> AuditRecords:
        """What was found, verified."""
        folder = self.path if self._is_former else self.path / "records"
        if not self._is_former:  # it wrote no hashes
            verify(folder, self.damaged)
        tables = {
            name: read_table(folder / f"{name}.parquet", schema, self.damaged, _LATER if name == "checkpoints" else ())
            for name, schema in AUDIT_TABLES.items()
        }
        return AuditRecords(self.path, self.spec().suite, **tables)

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; tables are made again from the fingerprints."""
        if path.relative_to(self.path).parts[0] == "records":
            return f"delete {self.path / 'records'} {AGAIN}: it is made anew from the fingerprints"
        if path.suffix == ".parquet":
            return f"delete it {AGAIN}: it is made anew from the fingerprints"
        return super().remedy(path)

    def _locate(self, run: Run, step: int) -> Path:
        return self.path / "fingerprints" / quote(run.size, safe="") / quote(run.seed, safe="") / f"{step}.safetensors"
