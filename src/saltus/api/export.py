"""The tables of a folder as CSV, for whatever reads no Parquet."""

from functools import partial
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from saltus.api.folders import AnyPath, Folder, read_folder
from saltus.errors import SaltusError
from saltus.lm.scanning.records import ScanRecords
from saltus.report.scan.tokens import find_tokens
from saltus.storage.files import explain_full_disk, write_file

_EMERGENCES = pa.schema(
    [
        *((name, pa.string()) for name in ("size", "seed", "unit")),
        *((name, pa.int64()) for name in ("last_step_without", "first_step_with", "lost_at")),
        *((name, pa.int64()) for name in ("tokens_without", "tokens_with")),  # null where they are not known
    ]
)


def export(folder: Folder, to: AnyPath, *, threshold: float | None = None, hold: int | None = None) -> Path:
    """Write every table of a scan, a patch or an audit as `NAME.csv` into the folder `to`; its absolute path.

    Of a scan `emergences.csv` is written too, by its own rule or with another threshold or hold. Lists are written with
    spaces between their items.

    Raises:
        SaltusError: if the folder is of another kind.

    """
    to = Path(to)
    records = read_folder(folder, threshold, hold)
    tables = {name: value for name, value in vars(records).items() if isinstance(value, pa.Table)}
    if isinstance(records, ScanRecords):
        tables["emergences"] = _tabulate_emergences(records)
    if not tables:
        raise SaltusError(f"{folder.path} is a {folder.kind}; CSV is written of scans, patches and audits")
    with explain_full_disk(to):
        to.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            write_file(to / f"{name}.csv", partial(csv.write_csv, _flatten(table)))
    return to.resolve()


def _tabulate_emergences(records: ScanRecords) -> pa.Table:
    rows = [
        (*e.key, e.after if e.after >= 0 else None, e.by, e.lost, *find_tokens(records, e))
        for e in records.find_emergences()
    ]
    return pa.Table.from_pylist([dict(zip(_EMERGENCES.names, row, strict=True)) for row in rows], schema=_EMERGENCES)


def _flatten(table: pa.Table) -> pa.Table:
    """The table with text in place of lists, of which CSV knows nothing."""
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = [None if items is None else " ".join(map(_show, items)) for items in table[field.name].to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _show(item: object) -> str:
    """An item of a list: a pair such as layer and head as `3.7`."""
    return ".".join(map(str, item)) if isinstance(item, list) else "" if item is None else str(item)
