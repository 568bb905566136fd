"""Reading what was written before: a file that is damaged is named, with what to do."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from saltus.errors import SaltusError
from saltus.storage.files import hash_file

Damaged = Callable[[Path, str], SaltusError]
"""From a file and what is wrong with it, such as `is missing`, the sentence that also says how to get out of it."""


def read_json(path: Path, damaged: Damaged) -> dict[str, Any]:
    """A JSON object."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise damaged(path, f"cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise damaged(path, "holds no JSON object")
    return values


def read_table(path: Path, schema: pa.Schema, damaged: Damaged, added: Sequence[str] = ()) -> pa.Table:
    """A Parquet table with the columns of `schema`, its pages compared with their checksums where they have any.

    Where the file is from before the columns `added` there is nothing in them.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, f"cannot be read ({' '.join(str(error).split())})") from None
    if not set(added) & set(table.column_names):
        for name in added:
            place, column = schema.get_field_index(name), schema.field(name)
            table = table.add_column(place, column, pa.nulls(len(table), column.type))
    if not table.schema.equals(schema):
        raise damaged(path, "has other columns than it should")
    return table


def verify(folder: Path, damaged: Damaged, skip: tuple[str, ...] = ()) -> None:
    """Compare the files of a folder with its `manifest.json`; those whose name starts with one of `skip` are left."""
    for name, expected in read_json(folder / "manifest.json", damaged).items():
        if name.startswith(skip):
            continue
        path = folder / name
        if not path.exists():
            raise damaged(path, "is missing")
        if hash_file(path) != expected:
            raise damaged(path, "differs from what was written")
