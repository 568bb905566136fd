"""The folder of a patch.

patch-HASH/
  patch.json      what is patched
  checkpoints.json
                  what the files of the two checkpoints were
  units/          what has been measured so far, a table for each unit of work; gone once all is in records/
  records/        a table for each of `PATCH_TABLES`, but for the trajectory
  trajectory.parquet
                  the target's probability around the jump, where checkpoints for it were at hand
  finished.json   versions, machine, duration
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from saltus.lm.patching.records import LATER, PATCH_TABLES, PatchRecords
from saltus.lm.suites.content import Content
from saltus.specs.checkpoints import PatchSpec
from saltus.storage.files import explain_full_disk, remove, write_folder
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import read_json, read_table, verify, write_json, write_table

_UNIT = pa.schema([("values", pa.list_(pa.float64()))])  # a row for each head or set, [prompt]
_RECORDS = [name for name in PATCH_TABLES if name != "trajectory"]


class PatchFolder(Folder[PatchSpec]):
    """One patch on disk."""

    kind: ClassVar[str] = "patch"
    description: ClassVar[str] = "patch.json"
    specs: ClassVar[type[PatchSpec]] = PatchSpec

    @property
    def finished(self) -> bool:
        """Whether the patch is done."""
        return (super().finished and self.gathered) or self._is_former

    @property
    def _is_former(self) -> bool:
        """Whether version 0.1 wrote it: its tables lie beside the description, all of them or none."""
        return (self.path / "effects.parquet").exists()

    @property
    def has_trajectory(self) -> bool:
        """Whether a trajectory was measured, as far as it went."""
        return self._trajectory.exists()

    @property
    def _trajectory(self) -> Path:
        return self.path / "trajectory.parquet"

    def summary(self) -> dict[str, Any]:
        """What `finish` was given; empty where version 0.1 wrote the patch."""
        return {} if self._is_former else super().summary()

    def commit(self, tables: Mapping[str, pa.Table]) -> None:
        """Write the tables, all or none, but for the trajectory."""

        def write(folder: Path) -> None:
            for name in _RECORDS:
                write_table(tables[name].cast(PATCH_TABLES[name]), folder / f"{name}.parquet")

        with explain_full_disk(self.path):
            write_folder(self.path / "records", write)

    def checkpoints(self) -> dict[str, Content]:
        """What the files of recipient and donor were, by these names; empty where that was not kept."""
        if not self._checkpoints.exists():
            return {}
        try:
            return {side: Content(**told) for side, told in read_json(self._checkpoints, self.damaged).items()}
        except TypeError as error:
            raise self.damaged(self._checkpoints, f"does not describe two checkpoints ({error})") from None

    def keep_checkpoints(self, contents: Mapping[str, Content]) -> None:
        """Keep what the files of recipient and donor are."""
        told = {side: vars(content) for side, content in contents.items()}
        self._write(self._checkpoints, lambda partial: write_json(partial, told))

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints.json"

    def read_unit(self, name: str) -> NDArray[np.float64] | None:
        """The values [row, prompt] of a unit of work that an earlier call measured; None where there is none."""
        path = self._find_unit(name)
        if not path.exists():
            return None
        return np.array(read_table(path, _UNIT, self.damaged)["values"].to_pylist(), dtype=np.float64)

    def add_unit(self, name: str, values: NDArray[np.float64]) -> None:
        """Keep the values [row, prompt] of a unit of work until all is committed."""
        table = pa.table({"values": values.tolist()}, schema=_UNIT)
        self._write(self._find_unit(name), lambda partial: write_table(table, partial))

    def _find_unit(self, name: str) -> Path:
        return self.path / "units" / f"{name}.parquet"

    def conclude(self) -> None:
        """As `Folder.conclude`; the units go, since the tables hold them."""
        super().conclude()
        remove(self.path / "units")

    def add_trajectory(self, table: pa.Table) -> None:
        """Write the table `trajectory`."""
        self._write(self._trajectory, lambda partial: write_table(table.cast(PATCH_TABLES["trajectory"]), partial))

    def records(self) -> PatchRecords:
        """All rows, verified."""
        folder = self.path if self._is_former else self.path / "records"
        verify(folder, self.damaged, skip=(self.description,))  # it has its own check: the hash in the folder's name
        tables = {
            name: read_table(folder / f"{name}.parquet", PATCH_TABLES[name], self.damaged, LATER.get(name, ()))
            for name in _RECORDS
        }
        schema = PATCH_TABLES["trajectory"]
        tables["trajectory"] = (
            read_table(self._trajectory, schema, self.damaged) if self.has_trajectory else schema.empty_table()
        )
        return PatchRecords(path=self.path, spec=self.spec(), **tables)

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; the tables follow from nothing else, and are measured again."""
        if path.relative_to(self.path).parts[0] == "records":
            return f"move {self.path / 'records'} away {AGAIN}: the patch is measured again"
        if self._is_former and path.name != self.description:
            return f"move {self.path} away {AGAIN}: the patch is measured again"
        if path.parent.name == "units":
            return f"delete it {AGAIN}: this unit is measured again, and everything else is kept"
        if path in (self._trajectory, self._checkpoints):
            return "delete it: everything else is kept"
        return super().remedy(path)
