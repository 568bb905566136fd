"""A suite in a manifest: a table of checkpoints that lie anywhere, as CSV or TOML.

The columns are `group`, `seed` (`0` if not given), `step`, one of `path` (from the manifest's folder) and `revision`
(`OWNER/NAME@REVISION` on the hub), and `tokens` where they are known. In TOML each checkpoint is a `[[checkpoint]]`.
"""

import csv
import io
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from saltus.errors import SaltusError
from saltus.labels import to_count, to_step
from saltus.lm.suites.hub import Hub, is_revision
from saltus.lm.suites.listed import Entry, Place, check_step, name_run
from saltus.lm.suites.local import LocalPlace
from saltus.lm.suites.revisions import Revision, check_repository

_COLUMNS = ("group", "seed", "step", "path", "revision", "tokens")
_MOST_BYTES = 2**24

_Row = tuple[str, Mapping[str, str]]
"""Where it stands, for messages, and what it says; nothing is an empty text."""


def read_manifest(path: Path, hub: Hub, *, links: bool = False) -> list[Entry]:
    """The checkpoints of a manifest, in its order; with `links` they may lie outside of its folder.

    Raises:
        SaltusError: if it cannot be read, or a row of it says too little or something unknown.

    """
    read = {".csv": _read_csv, ".toml": _read_toml}.get(path.suffix)
    if read is None:
        raise SaltusError(f"{path} is no manifest; give a file that ends in .csv or .toml")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SaltusError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB, the most for a manifest; split it")
        text = path.read_text(encoding="utf-8-sig")
        entries = [
            _read_row(where, row, Path(os.path.realpath(path)).parent, hub, links) for where, row in read(path, text)
        ]
    except (OSError, ValueError) as error:  # of the file, of UTF-8, of TOML
        raise SaltusError(f"{path} cannot be read ({error}); give a CSV or TOML file in UTF-8") from None
    if not entries:
        raise SaltusError(f"{path} names no checkpoint; give it a row for each, with {', '.join(_COLUMNS)}")
    return entries


def _read_csv(path: Path, text: str) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    _check_columns(reader.fieldnames or (), str(path))
    try:
        for row in reader:
            if None in row:
                raise SaltusError(f"{path}:{reader.line_num}: there are more values than columns; take some out")
            yield f"{path}:{reader.line_num}", {name: (value or "").strip() for name, value in row.items()}
    except csv.Error as error:
        raise SaltusError(f"{path}:{reader.line_num}: this is no CSV ({error}); mend that line") from None


def _read_toml(path: Path, text: str) -> Iterator[_Row]:
    values = tomllib.loads(text)
    found = values.get("checkpoint", ())
    if {*values} - {"checkpoint"} or not isinstance(found, list):
        raise SaltusError(f"{path} holds {', '.join(values)}; write each checkpoint below a line [[checkpoint]]")
    for number, row in enumerate(found, 1):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if not isinstance(row, dict):
            raise SaltusError(f"{path} has a checkpoint that is no table; write it below a line [[checkpoint]]")
        named = {str(name): str(value).strip() for name, value in row.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        _check_columns(named, where := f"{path}, checkpoint {number}")
        yield where, named


def _check_columns(names: Iterable[str], where: str) -> None:
    if unknown := [name for name in names if name not in _COLUMNS]:
        raise SaltusError(f"{where}: there is no column {unknown[0]!r}; allowed are {', '.join(_COLUMNS)}")


def _read_row(where: str, row: Mapping[str, str], root: Path, hub: Hub, links: bool) -> Entry:
    group, seed, step, path, revision, tokens = (row.get(name, "") for name in _COLUMNS)
    if bool(path) == bool(revision):
        raise SaltusError(f"{where}: path is {path!r} and revision {revision!r}; give exactly one of the two")
    if tokens and to_count(tokens) is None:
        raise SaltusError(f"{where}: tokens is {tokens!r}; write a number such as 4194304 or 5B")
    run, place = name_run(group, seed or "0", where), _find_place(where, path, revision, root, hub, links)
    return Entry(run, check_step(to_step(step), f"{where}: {step!r}"), place, to_count(tokens) if tokens else None)


def _find_place(where: str, path: str, revision: str, root: Path, hub: Hub, links: bool) -> Place:
    if path:
        place = LocalPlace(root / path, root, links)
        place.require_inside(place.folder)
        return place
    repository, _, name = revision.partition("@")
    if not is_revision(name):
        raise SaltusError(f"{where}: revision is {revision!r}; write it as OWNER/NAME@REVISION, such as a/b@step100")
    return Revision(hub, check_repository(repository), name)
