"""The folder of a patch.

patch-HASH/
  patch.json      what is patched
  records/        a table for each of `PATCH_TABLES`
  finished.json   versions, machine, duration
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from saltus.lm.patching.records import PATCH_TABLES, PatchRecords
from saltus.specs.checkpoints import PatchSpec
from saltus.storage.files import explain_full_disk, write_folder
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import read_table, verify, write_table


class PatchFolder(Folder[PatchSpec]):
    """One patch on disk."""

    kind: ClassVar[str] = "patch"
    description: ClassVar[str] = "patch.json"
    specs: ClassVar[type[PatchSpec]] = PatchSpec

    @property
    def finished(self) -> bool:
        """Whether the patch is done; version 0.1 wrote its tables beside the description, all at once."""
        return super().finished or self._is_former

    @property
    def _is_former(self) -> bool:
        return (self.path / "effects.parquet").exists()

    def commit(self, tables: Mapping[str, pa.Table]) -> None:
        """Write the tables, all or none."""

        def write(folder: Path) -> None:
            for name, schema in PATCH_TABLES.items():
                write_table(tables[name].cast(schema), folder / f"{name}.parquet")

        with explain_full_disk(self.path):
            write_folder(self.path / "records", write)

    def records(self) -> PatchRecords:
        """All rows, verified."""
        folder = self.path if self._is_former else self.path / "records"
        verify(folder, self.damaged)
        tables = {
            name: read_table(folder / f"{name}.parquet", schema, self.damaged) for name, schema in PATCH_TABLES.items()
        }
        return PatchRecords(path=self.path, spec=self.spec(), **tables)

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; the tables are measured again."""
        if path.relative_to(self.path).parts[0] == "records":
            return f"delete {self.path / 'records'} and finished.json {AGAIN}: it is measured again"
        return super().remedy(path)
