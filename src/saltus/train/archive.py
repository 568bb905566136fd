"""An archive of small records: many runs in a few tables, exact, without weights.

ARCHIVE/PACK/
  runs.parquet           a run in each row: its description, its summary, the hash of its facts
  facts.parquet          what is known of each task, once for all runs that share it: arrays
  steps.parquet, ...     the tables of the measures that were kept, with the hash of the run in each row
  snapshots.parquet      snapshots of the runs that kept any: arrays
  manifest.json          the hash of every file

Packs are only ever added, so that an archive can be kept under version control.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import RunSpec
from saltus.storage.files import explain_full_disk, write_folder
from saltus.storage.tables import Arrays, read_any_table, verify, write_table
from saltus.tasks.base import TaskFacts
from saltus.train.measures import MEASURES
from saltus.train.records import (
    RunRecords,
    SnapshotRows,
    facts_from_arrays,
    facts_to_arrays,
    state_rule,
)

LARGEST = 12_000_000
"""Bytes of the largest table of a pack before it is compressed, to about a third."""

_RUNS = pa.schema(
    [
        ("run", pa.string()),  # the content hash
        ("spec", pa.string()),  # JSON
        ("summary", pa.string()),  # JSON
        ("facts", pa.string()),  # their hash
        ("notes", pa.string()),  # those of the facts, JSON
    ]
)

_ARRAYS = pa.schema(
    [
        ("of", pa.string()),  # the hash of the run, or of the facts
        ("name", pa.string()),
        ("type", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("data", pa.binary()),
    ]
)


@dataclass(frozen=True)
class _Pack:
    """A pack, as far as it has been read."""

    tables: dict[str, pa.Table]
    facts: dict[str, Arrays]
    """By their hash."""
    snapshots: dict[str, Arrays]
    """By the hash of the run."""


class Archive:
    """The runs of an archive, by the hash of their content."""

    def __init__(self, path: Path) -> None:
        """Read the list of runs; their records are read when they are asked for."""
        self.path = path
        self._packs: dict[Path, _Pack] = {}
        self._runs: dict[str, tuple[Path, dict[str, Any]]] = {}
        for listing in sorted(path.glob("*/runs.parquet")):
            for row in read_any_table(listing, _damaged).to_pylist():
                self._runs.setdefault(row["run"], (listing.parent, row))

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._runs)

    def __contains__(self, spec: RunSpec) -> bool:
        """Whether the records of a run are there, perhaps with more seeds or steps."""
        return self._find_row(spec) is not None

    def list_specs(self) -> Iterator[RunSpec]:
        """The descriptions of all runs."""
        for path, row in self._runs.values():
            yield self._read_spec(path, row)

    def find(self, spec: RunSpec) -> RunRecords | None:
        """The records of a run, under the name and the rule of `spec`; None if it is not there.

        Of a run with more seeds or steps those that are asked for.
        """
        found = self._find_row(spec)
        if found is None:
            return None
        path, row = found
        if self._read_spec(path, row).content_hash != row["run"]:
            raise _damaged(path / "runs.parquet", f"describes {row['run']} in other words than its hash")
        pack = self._open(path)
        facts = facts_from_arrays(pack.facts[row["facts"]], json.loads(row["notes"]))
        tables = {name: _fill_progress(_select(table, row["run"]), facts) for name, table in pack.tables.items()}
        for measure in MEASURES:
            tables.setdefault(measure.name, measure.schema.empty_table())
        return RunRecords(
            path=path,
            spec=spec,
            facts=facts,
            tables=tables,
            kept=SnapshotRows.from_arrays(pack.snapshots[row["run"]])
            if row["run"] in pack.snapshots
            else SnapshotRows.none(),
            summary=json.loads(row["summary"]),
            rule=state_rule(spec),
        ).of(spec)

    def _find_row(self, spec: RunSpec) -> tuple[Path, dict[str, Any]] | None:
        """The pack and the row of a run, or else of the first with more of its seeds or steps."""
        if spec.content_hash in self._runs:
            return self._runs[spec.content_hash]
        for row, there in self._alike.get(spec.folder_hashes[0], ()):
            if there.includes(spec):
                return self._runs[row]
        return None

    @cached_property
    def _alike(self) -> dict[str, list[tuple[str, RunSpec]]]:
        """The runs that differ in seeds and steps alone, with their descriptions."""
        alike: dict[str, list[tuple[str, RunSpec]]] = {}
        for key, (path, row) in self._runs.items():
            spec = self._read_spec(path, row)
            alike.setdefault(spec.folder_hashes[0], []).append((key, spec))
        return alike

    def add(self, name: str, runs: Iterable[RunRecords]) -> list[Path]:
        """Write the records of runs that are not there yet, as packs called `name`; the paths of the packs."""
        written: list[Path] = []
        waiting: dict[str, RunRecords] = {}
        sizes: Counter[str] = Counter()
        columns: dict[str, pa.Schema] = {}
        for records in runs:
            key = records.spec.content_hash
            if key in waiting or records.spec in self:
                continue
            for table, rows in records.tables.items():
                if len(rows) and not rows.schema.equals(known := columns.setdefault(table, rows.schema)):
                    raise SaltusError(
                        f"measure {table!r} has {', '.join(rows.schema.names)} in {records.path.name}, and "
                        f"{', '.join(known.names)} in other runs of {name}; keep each as a study of its own"
                    )
            own = Counter({name: table.nbytes for name, table in records.tables.items()})
            own["snapshots"] = sum(array.nbytes for array in records.kept.to_arrays().values())
            if waiting and max((sizes + own).values()) > LARGEST:
                written.append(self._write(name, waiting))
                waiting, sizes = {}, Counter()
            waiting[key] = records
            sizes += own
        if waiting:
            written.append(self._write(name, waiting))
        return written

    def _write(self, name: str, runs: dict[str, RunRecords]) -> Path:
        facts: dict[str, Arrays] = {}
        snapshots: dict[str, Arrays] = {}
        rows: list[dict[str, str]] = []
        for key, records in runs.items():
            arrays, notes = facts_to_arrays(records.facts)
            digest = _hash_arrays(arrays, notes)
            facts[digest] = arrays
            if len(records.kept.steps):
                snapshots[key] = records.kept.to_arrays()
            text = {
                "spec": records.spec.model_dump(mode="json"),
                "summary": dict(records.summary or {}),
                "notes": notes,
            }
            rows.append({"run": key, "facts": digest} | {name: json.dumps(value) for name, value in text.items()})
        kept = {name for records in runs.values() for name, table in records.tables.items() if len(table)}

        def write(folder: Path) -> None:
            write_table(pa.Table.from_pylist(rows, schema=_RUNS), folder / "runs.parquet")
            write_table(_tabulate_arrays(facts), folder / "facts.parquet")
            write_table(_tabulate_arrays(snapshots), folder / "snapshots.parquet")
            for table in sorted(kept):
                parts = [
                    _mark(_drop_progress(records.tables[table], records.facts), key)
                    for key, records in runs.items()
                    if table in records.tables
                ]
                joined = pa.concat_tables(part for part in parts if len(part))
                write_table(joined, folder / f"{table}.parquet", small=True)

        place = next(p for n in range(1, 10_000) if not (p := self.path / (name if n == 1 else f"{name}-{n}")).exists())
        with explain_full_disk(place):
            write_folder(place, write)
        self._runs |= {row["run"]: (place, row) for row in rows}
        self.__dict__.pop("_alike", None)
        return place

    def _open(self, path: Path) -> _Pack:
        if path not in self._packs:
            verify(path, _damaged)
            tables = {file.stem: read_any_table(file, _damaged) for file in sorted(path.glob("*.parquet"))}
            arrays = {name: _list_arrays(tables.pop(name)) for name in ("facts", "snapshots")}
            del tables["runs"]
            self._packs[path] = _Pack(tables, **arrays)
        return self._packs[path]

    def _read_spec(self, path: Path, row: dict[str, Any]) -> RunSpec:
        try:
            return RunSpec(**json.loads(row["spec"]))
        except (ValueError, TypeError, SaltusError) as error:
            raise _damaged(path / "runs.parquet", f"describes no run ({error})") from None


def shorten(table: pa.Table, facts: TaskFacts) -> pa.Table:
    """With numbers rounded to float32, the shares of the way that follow from them, and no probabilities of targets."""
    for place, name in enumerate(table.schema.names):
        if name == "target_probability":
            table = _set_column(table, name, pa.nulls(len(table), pa.float64()))
        elif pa.types.is_float64(table.schema.types[place]):
            table = _set_column(table, name, table[name].cast(pa.float32(), safe=False).cast(pa.float64()))
    known = _work_out_progress(table, facts)
    return table if known is None else _set_column(table, "progress", pa.array(known))


def _mark(table: pa.Table, run: str) -> pa.Table:
    """With the run in each row."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), np.int32)), pa.array([run]))
    return table.append_column("run", column)


def _select(table: pa.Table, run: str) -> pa.Table:
    """The rows of one run, as they were."""
    return table.filter(pc.field("run") == run).drop_columns(["run"])


def _drop_progress(table: pa.Table, facts: TaskFacts) -> pa.Table:
    """Without the shares of the way that follow from the losses, bit by bit: a third of a pack."""
    known = _work_out_progress(table, facts)
    if known is None or not np.array_equal(known, table["progress"].to_numpy(), equal_nan=True):
        return table
    return _set_column(table, "progress", pa.nulls(len(table), pa.float64()))


def _fill_progress(table: pa.Table, facts: TaskFacts) -> pa.Table:
    """With the shares of the way that were left out."""
    known = _work_out_progress(table, facts)
    if known is None or table["progress"].null_count < len(table):
        return table
    return _set_column(table, "progress", pa.array(known))


def _work_out_progress(table: pa.Table, facts: TaskFacts) -> NDArray[np.float64] | None:
    """[row] by the losses of all units of each evaluation; None of another table than that of units."""
    if not len(table) or not {"unit", "loss", "progress"} <= set(table.column_names):
        return None
    units = len(facts.mean_by_unit(facts.chance_loss))
    if len(table) % units or (table["unit"].to_numpy().reshape(-1, units) != np.arange(units)).any():
        return None
    return facts.progress(table["loss"].to_numpy().reshape(-1, units)).reshape(-1)


def _set_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), values)


def _tabulate_arrays(arrays: dict[str, Arrays]) -> pa.Table:
    rows = [
        {"of": of, "name": name, "type": str(value.dtype), "shape": list(value.shape), "data": value.tobytes()}
        for of, named in arrays.items()
        for name, value in named.items()
    ]
    return pa.Table.from_pylist(rows, schema=_ARRAYS)


def _list_arrays(table: pa.Table) -> dict[str, Arrays]:
    arrays: dict[str, Arrays] = {}
    for row in table.to_pylist():
        flat = np.frombuffer(row["data"], np.dtype(row["type"]))
        arrays.setdefault(row["of"], {})[row["name"]] = flat.reshape(row["shape"])
    return arrays


def _hash_arrays(arrays: Arrays, notes: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(notes, sort_keys=True).encode())
    for name, value in sorted(arrays.items()):
        digest.update(f"{name} {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def _damaged(path: Path, what: str) -> SaltusError:
    return SaltusError(f"{path} {what}; bring the pack {path.parent} back from where it was copied from")
