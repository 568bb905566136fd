"""The folder of curves that were read from elsewhere.

NAME/
  curves.json      what was read, and how
  records/         curves.parquet, values.parquet, reading.json: measure, rule, notes
  finished.json    versions, machine, number of curves

The name is the one that the user gives. What is read again under the same name takes the place of what was there.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from saltus.curves import Curve, Curves, Key, Rule
from saltus.errors import SaltusError
from saltus.specs.base import DIGITS
from saltus.specs.reading import ReadSpec
from saltus.storage.files import explain_full_disk, remove, replace_folder
from saltus.storage.folder import AGAIN, Folder
from saltus.storage.tables import read_json, read_table, verify, write_json, write_table

CURVES_TABLES: dict[str, pa.Schema] = {
    # One row for each curve.
    "curves": pa.schema(
        [
            ("group", pa.string()),
            ("seed", pa.string()),
            ("unit", pa.string()),
            ("chance", pa.float64()),  # NaN where it is not known, as the next one
            ("ceiling", pa.float64()),
            ("missing", pa.list_(pa.int64())),  # steps that should be there
            ("errors", pa.bool_()),  # whether its values have standard errors
        ]
    ),
    # One row for each value.
    "values": pa.schema(
        [
            ("curve", pa.int32()),  # its row in the table above
            ("step", pa.int64()),
            ("value", pa.float64()),
            ("standard_error", pa.float64()),  # NaN where it is not known
        ]
    ),
}

_NAME = re.compile(
    rf"(?!.*-[0-9a-f]{{{DIGITS}}}$)(?!.*\.(partial)?$)(?!(?i:con|prn|aux|nul|com\d|lpt\d)(\.|$))"
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
)
"""No name of a run's folder, of one that is being written, or of what Windows takes for a device."""


@dataclass(frozen=True)
class CurvesRecords:
    """Curves on disk, read by a rule."""

    path: Path
    curves: Curves

    @property
    def rule(self) -> Rule:
        """The rule by which the curves are read."""
        return self.curves.rule

    def reread(self, rule: Rule) -> Self:
        """The same curves, read by another rule."""
        return replace(self, curves=replace(self.curves, rule=rule))


class CurvesFolder(Folder[ReadSpec]):
    """Curves on disk, whatever they were read from."""

    kind: ClassVar[str] = "curves"
    description: ClassVar[str] = "curves.json"
    specs: ClassVar[type[ReadSpec]] = ReadSpec

    @classmethod
    def of(cls, root: Path, name: str) -> Self:
        """The folder of that name under `root`, which need not exist.

        Raises:
            SaltusError: if the name is none for a folder, or something else has it.

        """
        if not _NAME.fullmatch(name):
            raise SaltusError(
                f"name: {name!r} was given; allowed are 1 to 64 of a-z, A-Z, 0-9, '.', '_', '-', starting with a "
                "letter or digit, not ending with '.' or like the hash of a run, and no device of Windows"
            )
        folder = cls(root / name)
        if folder.path.exists() and not (folder.path / cls.description).exists():
            raise SaltusError(f"{folder.path} is there and holds no curves; choose another name or another folder")
        return folder

    def require(self, spec: ReadSpec) -> None:
        """Refuse nothing: what is read takes the place of what was read before, once it is whole."""
        if not (self.path / self.description).exists():
            self.describe(spec)

    def commit(self, spec: ReadSpec, curves: Curves) -> None:
        """Write the curves and what they were read from, in place of those that were there."""

        def write(folder: Path) -> None:
            for name, table in _tabulate(curves).items():
                write_table(table, folder / f"{name}.parquet")
            facts = {"measure": curves.measure, "unit_of_measure": curves.unit_of_measure, "whole": curves.whole}
            write_json(folder / "reading.json", facts | {"rule": asdict(curves.rule), "notes": list(curves.notes)})
            remove(self.path / "finished.json")  # until curves, description and summary are all of the new reading

        with explain_full_disk(self.path):
            replace_folder(self.path / "records", write)
        self.describe(spec)

    def records(self) -> CurvesRecords:
        """The curves, verified.

        Raises:
            SaltusError: if a file of them is missing or damaged.

        """
        folder = self.path / "records"
        verify(folder, self.damaged)
        tables = {
            name: read_table(folder / f"{name}.parquet", schema, self.damaged) for name, schema in CURVES_TABLES.items()
        }
        facts = read_json(folder / "reading.json", self.damaged)
        return CurvesRecords(self.path, _build(tables, facts))

    def remedy(self, path: Path) -> str:
        """As `Folder.remedy`; everything in it is made anew from what was read."""
        return f"delete {self.path} {AGAIN}: it is read anew"


def _tabulate(curves: Curves) -> dict[str, pa.Table]:
    columns = {
        "group": [curve.key.group for curve in curves],
        "seed": [curve.key.seed for curve in curves],
        "unit": [curve.key.unit for curve in curves],
        "chance": [curve.chance for curve in curves],
        "ceiling": [curve.ceiling for curve in curves],
        "missing": [list(curve.missing) for curve in curves],
        "errors": [curve.standard_error is not None for curve in curves],
    }
    errors = [c.standard_error if c.standard_error is not None else np.full(len(c.steps), np.nan) for c in curves]
    values = {
        "curve": np.repeat(np.arange(len(curves)), [len(curve.steps) for curve in curves]),
        "step": np.concatenate([curve.steps for curve in curves]),
        "value": np.concatenate([curve.values for curve in curves]),
        "standard_error": np.concatenate(errors),
    }
    return {
        "curves": pa.table(columns, schema=CURVES_TABLES["curves"]),
        "values": pa.table(values, schema=CURVES_TABLES["values"]),
    }


def _build(tables: Mapping[str, pa.Table], facts: Mapping[str, Any]) -> Curves:
    values = {name: tables["values"][name].to_numpy() for name in CURVES_TABLES["values"].names}
    ends = np.searchsorted(values["curve"], np.arange(len(tables["curves"]) + 1))
    curves = tuple(
        Curve(
            Key(row["group"], row["seed"], row["unit"]),
            values["step"][start:end],
            values["value"][start:end],
            tuple(row["missing"]),
            row["chance"],
            row["ceiling"],
            values["standard_error"][start:end] if row["errors"] else None,
        )
        for row, start, end in zip(tables["curves"].to_pylist(), ends[:-1], ends[1:], strict=True)
    )
    named = {name: facts[name] for name in ("measure", "unit_of_measure", "whole")}
    return Curves(curves, rule=Rule(**facts["rule"]), notes=tuple(facts["notes"]), **named)
