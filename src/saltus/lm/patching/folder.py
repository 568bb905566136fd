"""The folder of a patch study, named by its spec: patch.json and a Parquet table for each of `PATCH_TABLES`.

It appears whole, by one rename, when the study is done.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from saltus.errors import SaltusError
from saltus.lm.records import PATCH_TABLES, PatchRecords
from saltus.lm.specs import PatchSpec
from saltus.storage.files import explain_full_disk, write_folder
from saltus.storage.tables import read_json, read_table, verify


class PatchFolder:
    """One patch study on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def finished(self) -> bool:
        """Whether the study is there; it is never written to again."""
        return (self.path / "patch.json").exists()

    def spec(self) -> PatchSpec:
        """The description of the study."""
        path = self.path / "patch.json"
        try:
            return PatchSpec(**read_json(path, self._damaged))
        except SaltusError as error:
            raise self._damaged(path, f"describes no patch study ({error})") from None

    def write(self, spec: PatchSpec, tables: Mapping[str, pa.Table]) -> None:
        """Write a study, whole or not at all; one that is there is never overwritten."""
        with explain_full_disk(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            raise SaltusError(f"{self.path} is there already; delete it to patch again")

        def fill(folder: Path) -> None:
            (folder / "patch.json").write_text(json.dumps(spec.model_dump(mode="json"), indent=2) + "\n")
            for name, schema in PATCH_TABLES.items():
                pq.write_table(tables[name].cast(schema), folder / f"{name}.parquet", compression="zstd")

        with explain_full_disk(self.path):
            write_folder(self.path, fill)

    def records(self) -> PatchRecords:
        """All rows, verified."""
        verify(self.path, self._damaged)
        tables = {
            name: read_table(self.path / f"{name}.parquet", schema, self._damaged)
            for name, schema in PATCH_TABLES.items()
        }
        return PatchRecords(path=self.path, spec=self.spec(), **tables)

    def _damaged(self, path: Path, what: str) -> SaltusError:
        return SaltusError(f"{path} {what}; delete {self.path} and run the same command again: it starts anew")


def list_patches(root: Path) -> list[PatchFolder]:
    """The patch studies under `root`, by name."""
    folders = [path.parent for path in sorted(root.glob("patch-*/patch.json"))]
    return [PatchFolder(folder) for folder in folders if folder.suffix != ".partial"]
