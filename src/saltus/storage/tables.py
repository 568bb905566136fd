"""Tables, arrays and JSON on disk: written with checksums, read with a remedy where they are damaged."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from saltus.errors import SaltusError
from saltus.storage.files import hash_file

Arrays = dict[str, NDArray[Any]]

Damaged = Callable[[Path, str], SaltusError]
"""From a file and what is wrong with it, such as `is missing`, the sentence that also says how to get out of it."""


def explain_refusal(path: Path, error: OSError) -> SaltusError:
    """Of a file that may be whole, and cannot be read by this user or in this moment."""
    return SaltusError(f"{path} cannot be read ({error.strerror}); mend that, or leave the folder out")


def read_json(path: Path, damaged: Damaged) -> dict[str, Any]:
    """A JSON object."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise explain_refusal(path, error) from None
    except (OSError, ValueError, RecursionError) as error:  # the last of JSON that is nested too deeply
        raise damaged(path, f"cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise damaged(path, "holds no JSON object")
    return values


def write_json(path: Path, values: Any) -> None:
    """Write a JSON value, indented, in place."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8", newline="\n")


def write_table(table: pa.Table, path: Path, *, small: bool = False) -> None:
    """Write a Parquet table, compressed and with a checksum for each page.

    `small` takes longer: bytes of equal weight stand together, which makes measured numbers a fifth smaller.
    """
    options: dict[str, Any] = {}
    if small:
        split = [field.name for field in table.schema if pa.types.is_floating(field.type)]
        others = [name for name in table.column_names if name not in split]
        options = {"use_byte_stream_split": split, "use_dictionary": others, "compression_level": 19}
    pq.write_table(table, path, compression="zstd", write_page_checksum=True, **options)


def read_table(path: Path, schema: pa.Schema, damaged: Damaged, later: Collection[str] = ()) -> pa.Table:
    """A Parquet table with the columns of `schema`, its pages compared with their checksums where they have any.

    Columns named in `later` were added by later versions: each of them that the file lacks is filled with nulls.
    """
    table = read_any_table(path, damaged)
    for name in later:
        if name not in table.column_names:
            place, column = schema.get_field_index(name), schema.field(name)
            table = table.add_column(place, column, pa.nulls(len(table), column.type))
    if not table.schema.equals(schema):
        raise damaged(path, "has other columns than it should")
    return table


def read_any_table(path: Path, damaged: Damaged) -> pa.Table:
    """A Parquet table, whatever its columns are."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except PermissionError as error:
        raise explain_refusal(path, error) from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, f"cannot be read ({' '.join(str(error).split())})") from None


def write_arrays(arrays: Arrays, path: Path, notes: dict[str, str] | None = None) -> None:
    """Write named arrays as safetensors, with `notes` as their metadata."""
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path, metadata=notes)


def read_arrays(path: Path, damaged: Damaged) -> tuple[Arrays, dict[str, str]]:
    """Named arrays, and their metadata."""
    try:
        with safe_open(path, framework="numpy") as file:
            # not a mapping: it can only be asked for its keys
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise damaged(path, f"cannot be read ({error})") from None


def verify(folder: Path, damaged: Damaged, skip: tuple[str, ...] = ()) -> None:
    """Compare the files of a folder with its `manifest.json`; those whose name starts with one of `skip` are left."""
    listed = folder / "manifest.json"
    hashes = read_json(listed, damaged)
    there = {path.name for path in folder.iterdir() if path.is_file()}
    for name, expected in hashes.items():
        if name.startswith(skip):
            continue
        path = folder / name
        if path.name != name:
            raise damaged(listed, f"lists {name!r:.60}, which is no name of a file")
        if name not in there:
            raise damaged(path, "is missing")
        if hash_file(path) != expected:
            raise damaged(path, "differs from what was written")
