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

from saltus.lm.suites.base import Run
from saltus.specs.checkpoints import AuditSpec
from saltus.storage.files import explain_full_disk, remove, write_folder
from saltus.storage.folder import Folder
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
        ]
    ),
}


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

    @classmethod
    def of(cls, root: Path, suite: str) -> "AuditFolder":
        """The folder of a suite's audit under `root`, which need not exist."""
        readable = re.sub(r"[^a-z0-9]+", "-", suite.lower()).strip("-")[-40:]
        return cls.find(root, AuditSpec(suite=suite), f"audit-{readable}")

    def fingerprint(self, run: Run, step: int) -> Path:
        """The file of a checkpoint's fingerprint."""
        return self.path / "fingerprints" / quote(run.size, safe="") / quote(run.seed, safe="") / f"{step}.safetensors"

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
        folder = self.path / "records"
        verify(folder, self.damaged)
        tables = {
            name: read_table(folder / f"{name}.parquet", schema, self.damaged) for name, schema in AUDIT_TABLES.items()
        }
        return AuditRecords(self.path, self.spec().suite, **tables)

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; records are made again from the fingerprints."""
        if path.relative_to(self.path).parts[0] == "records":
            return f"delete {self.path / 'records'} and run the audit again: it is made anew from what was read"
        return super().remedy(path)
