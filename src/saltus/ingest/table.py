"""Tables: CSV, JSON lines and Parquet, long or wide, and exports of a wandb history among them.

A wide table has a column for each metric, a long one a column of units and one of values; a row may have both. Which
column is what is named in the description or guessed from the usual names.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from saltus.ingest.ledger import Ledger
from saltus.ingest.rows import MOST_BYTES, MOST_VALUES, Reading, Row, Source, UnreadableError, name_task, to_label
from saltus.labels import SEED, Labels, clean, describe_run, find_seed, find_step, to_count, to_number, to_step
from saltus.specs.reading import ReadSpec

USUAL: dict[str, tuple[str, ...]] = {
    "step": (
        *("step", "global_step", "train_step", "training_step", "iteration", "iter"),
        *("_step", "checkpoint", "revision"),  # wandb's `_step` counts what was logged
    ),
    "seed": ("seed", "run_seed", "random_seed"),
    "group": ("group", "size", "arm", "model", "model_name", "run", "run_name", "experiment"),
    "run": ("run", "run_name", "run_id"),
    "unit": ("unit", "task", "benchmark", "dataset"),
    "metric": ("metric", "metric_name", "tag"),
    "shots": ("num_fewshot", "fewshot", "n_shot", "shots"),
}
"""Names of columns that are guessed, the likeliest first."""

_VALUES = ("value", "score")
"""Columns of values of a long table."""

_ERRORS = ("stderr", "standard_error", "std_err", "se")
"""Columns of standard errors; after the name of a column of values, such as `acc_stderr`, of that column."""

_TIMES = ("_timestamp", "wall_time", "wall time")
"""Columns with the time of a row, in seconds since the epoch."""

_PROGRESS = {*USUAL["step"], "epoch"}
_NO_METRICS = {*_PROGRESS, *USUAL["run"], *_ERRORS, *_TIMES, "timestamp", "time", "index", ""}


def is_csv(source: Source) -> bool:
    """Whether its name is that of a table with commas or tabs."""
    return source.path.suffix.lower() in (".csv", ".tsv")


def is_json_lines(source: Source) -> bool:
    """Whether its name is that of JSON lines; the samples that lm-evaluation-harness writes are left alone."""
    return source.path.suffix.lower() in (".jsonl", ".ndjson") and not source.path.name.startswith("samples_")


def is_parquet(source: Source) -> bool:
    """Whether its name is that of a Parquet table."""
    return source.path.suffix.lower() == ".parquet"


def read_csv(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A table whose first line has the names of the columns."""
    return _read_records(list_records(source, ledger), source, spec, ledger)


def list_records(source: Source, ledger: Ledger) -> list[Mapping[str, Any]]:
    """The rows of a CSV or TSV file, by the names of the columns.

    Raises:
        UnreadableError: if it is none, or too large.

    """
    _refuse_large(source)
    records: list[Mapping[str, Any]] = []
    try:
        with source.path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, dialect="excel-tab" if source.path.suffix.lower() == ".tsv" else "excel")
            lines.fieldnames = names = [name.strip() for name in lines.fieldnames or ()]
            _refuse_repeated([name for name in names if name])  # what has no name is not read
            for number, record in enumerate(lines, 1):
                _refuse_many(number * len(names))
                if None in record or None in record.values():
                    place = f"{source.name} line {lines.line_num}"
                    ledger.add("line has another number of cells than the first one and is left out", _CELLS, place)
                else:
                    records.append(record)
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8") from None
    except csv.Error as error:
        raise UnreadableError(f"is no CSV ({error})") from None
    return records


def read_json_lines(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A JSON object on each line."""
    _refuse_large(source)
    records: list[Mapping[str, Any]] = []
    cells = 0
    with source.path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                records.append(record)
                _refuse_many(cells := cells + len(record))
            else:
                place = f"{source.name} line {number}"
                ledger.add(
                    "line is no JSON object and is left out", "lines are no JSON objects and are left out", place
                )
    return _read_records([record for record in records if record], source, spec, ledger)


def read_parquet(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A Parquet table, of which columns of numbers and of text are read."""
    _refuse_large(source)
    try:
        with pq.ParquetFile(source.path) as file:
            flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
            _refuse_repeated(flat)
            _refuse_many(file.metadata.num_rows * len(flat))
            records = file.read(columns=flat).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UnreadableError(f"is no whole Parquet table ({' '.join(str(error).split())})") from None
    return _read_records(records, source, spec, ledger)


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what."""

    labels: Mapping[str, str]
    """From the words of `USUAL` to the column of each that is there."""
    values: tuple[str, ...]
    errors: Mapping[str, str]
    """From a column of values to that of its standard errors."""
    seeds: Mapping[str, str]
    """From a column of values to the seed that it is of, where each seed has a column of its own."""
    metric: str
    """What the columns of seeds have in common."""
    time: str | None
    """The column with the time of a row."""


def choose_columns(records: Sequence[Mapping[str, Any]], spec: ReadSpec) -> Columns:
    """Which column is what.

    Raises:
        UnreadableError: if a column that was named is not there, or there is none of values.

    """
    names = list(dict.fromkeys(name for record in records for name in record))
    labels = _choose_labels(names, spec)
    if "run" in labels and not _tells_apart(labels, records):
        del labels["run"]
    others = [name for name in names if name not in labels.values()]
    numeric = [name for name in others if any(to_number(record.get(name)) is not None for record in records)]
    lowered = {name.lower(): name for name in numeric}
    pairs = [(name, lowered.get(f"{name.lower()}_{word}")) for name in numeric for word in _ERRORS]
    errors = {name: error for name, error in pairs if error is not None}
    besides = {*errors.values(), *filter(_is_no_metric, numeric)}
    free = [name for name in numeric if name not in besides]
    if spec.value and ("metric" not in labels or {*spec.value} & {*numeric}):
        values = [name for name in spec.value if name in numeric]
        values = values or [name for name in free if find_seed(name) and _name_without_seed(name) in spec.value]
        if not values:
            raise UnreadableError(f"has no numbers in {_list_names(spec.value)}; it has them in {_list_names(free)}")
    else:
        long = "unit" in labels or "metric" in labels
        values = [name for name in free if long and name.lower() in _VALUES] or free
    if not values:
        raise UnreadableError(f"has no column of numbers to read; it has {_list_names(names)}")
    alone = next((name for name in numeric if name.lower() in _ERRORS), None)
    if len(values) == 1 and alone is not None:
        errors = {values[0]: alone} | errors
    time = next((name for name in numeric if name.lower() in _TIMES), None)
    return Columns(labels, tuple(values), errors, *({}, "") if "seed" in labels else _find_seeds(values), time)


def find_usual(part: str, names: Iterable[str]) -> str | None:
    """The likeliest column of a part, by its usual names; of a step also behind a prefix, as in `train/global_step`."""
    found = {name: name.lower().rpartition("/")[2] if part == "step" else name.lower() for name in names}
    return next((name for word in USUAL[part] for name, told in found.items() if told == word), None)


def _is_no_metric(name: str) -> bool:
    lowered = name.lower()
    return name.startswith("_") or lowered in _NO_METRICS or lowered.rpartition("/")[2] in _PROGRESS


def _tells_apart(labels: Mapping[str, str], records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether several runs have the same group and seed, so that only their names keep them apart."""
    named = [
        tuple(str(record.get(labels[part])) for part in ("group", "seed", "run") if part in labels)
        for record in records
    ]
    return len(set(named)) > len({name[:-1] for name in named})


def _find_seeds(values: Sequence[str]) -> tuple[Mapping[str, str], str]:
    """The seed of each column, and what is left of their names, where they differ in nothing else: `acc_seed1`."""
    seeds = {name: seed for name in values if (seed := find_seed(name)) is not None}
    left = {_name_without_seed(name) for name in values}
    if len(values) < 2 or len(set(seeds.values())) < len(values) or len(left) > 1:
        return {}, ""
    return seeds, left.pop()


def _name_without_seed(name: str) -> str:
    return str(describe_run(name).group) if SEED.sub("", name).strip("-_. ") else "value"


def _choose_labels(names: Sequence[str], spec: ReadSpec) -> dict[str, str]:
    labels: dict[str, str] = {}
    named: dict[str, str | None] = {part: getattr(spec, part, None) for part in USUAL}
    free = [name for name in names if name not in (*named.values(), *spec.value)]
    for part in USUAL:
        column = named[part] or find_usual(part, free)
        if part == "run" and (spec.group is not None or column == labels.get("group")):
            continue
        if column is not None and column not in names:
            raise UnreadableError(f"has no column {column!r}; it has {_list_names(names)}")
        if column is not None:
            labels[part] = column
    return labels


def _read_records(records: Sequence[Mapping[str, Any]], source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    if not records:
        raise UnreadableError("has no rows")
    columns = choose_columns(records, spec)
    found = [
        f"{part} from {clean(name)!r}" for part, name in columns.labels.items() if getattr(spec, part, None) is None
    ]
    found += [f"a seed from each of {_list_names([*columns.seeds])}"] if columns.seeds else []
    found += [f"values from {_list_names(columns.values)}"] if not spec.value and not columns.seeds else []
    if found:
        said = f"read with columns that were guessed ({', '.join(found)})"
        ledger.tell(f"table was {said}", f"tables were {said}", source.name)
    names = dict.fromkeys(chain(*records))
    if nested := [name for name in names if any(isinstance(each.get(name), dict | list) for each in records)]:
        said = f"columns of objects or lists, which are left out ({_list_names(nested)})"
        ledger.tell(f"table has {said}", f"tables have {said}", source.name)
    chosen = tuple(name for name in spec.value if name in columns.values)
    return Reading(list(_list_rows(records, columns, source, ledger)), columns=chosen)


def _to_step(value: Any) -> int | None:
    """A step, or the one that a text such as `step1000` or `1k` names."""
    text = str(value)
    return next((step for step in (to_step(value), find_step(text), to_step(to_count(text))) if step is not None), None)


def _to_seed(value: Any) -> str | None:
    """The name of a seed; a column with gaps has 3.0 for 3, in text too."""
    return to_label(to_number(value) if re.fullmatch(r"\d{1,15}\.0+", str(value).strip(), re.ASCII) else value)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "step": _to_step,
    "seed": _to_seed,
    "group": to_label,
    "run": to_label,
    "unit": to_label,
    "metric": to_label,
    "shots": to_number,
}
"""How the cells of the columns in `USUAL` are read; None where one says nothing."""


def _list_rows(records: Iterable[Mapping[str, Any]], columns: Columns, source: Source, ledger: Ledger) -> Iterator[Row]:
    for number, record in enumerate(records, 1):
        place = f"{source.name} row {number}"
        found = {part: _PARSERS[part](record.get(name)) for part, name in columns.labels.items()}
        if lacking := [part for part, label in found.items() if label is None]:
            what = f"no {' and no '.join(lacking)}"
            cells = [record.get(columns.labels[part]) for part in lacking]
            if unread := ", ".join(clean(cell) for cell in cells if cell not in (None, "")):
                place += f" ({unread})"
            ledger.add(f"row has {what} and is left out", f"rows have {what} and are left out", place)
            continue
        labels = Labels(found.get("group"), found.get("seed"), found.get("step"))
        if "run" in found:
            labels = _add_run(labels, found["run"])
        elif labels.group is not None and labels.seed is None:
            labels = describe_run(labels.group)._replace(step=labels.step)
        written = to_number(record.get(columns.time)) if columns.time is not None else None
        unit = name_task(found.get("unit", ""), found.get("shots", 0.0)) if "unit" in found else ""
        for name in columns.values:
            given = record.get(name)
            value = to_number(given)
            if value is not None:
                error = to_number(record.get(columns.errors[name])) if name in columns.errors else None
                metric = found.get("metric", columns.metric or clean(name))
                if "metric" in found and len(columns.values) > 1 and not columns.seeds:
                    metric += f" {clean(name)}"
                own = labels._replace(seed=columns.seeds[name]) if columns.seeds else labels
                yield Row(unit, metric, value, own, float("nan") if error is None else error, written)
            elif given not in (None, ""):
                ledger.add("value is no number and is left out", "values are no numbers and are left out", place)


def _add_run(labels: Labels, run: str) -> Labels:
    """With the name of a run, which tells it from others of its group, and may say a seed."""
    said = describe_run(run)
    group = labels.group if said.group in (None, labels.group) else f"{labels.group}/{said.group}"
    return labels._replace(group=group, seed=said.seed if labels.seed is None else labels.seed)


_CELLS = "lines have another number of cells than the first one and are left out"


def _list_names(names: Sequence[str]) -> str:
    shown = [repr(clean(name)) for name in names[:12]]
    return ", ".join(shown) + (f" and {len(names) - 12} more" if len(names) > 12 else "") or "none"


def _refuse_repeated(names: Sequence[str]) -> None:
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UnreadableError(f"has the column {clean(min(repeated))!r} more than once")


def _refuse_large(source: Source) -> None:
    if source.path.stat().st_size > MOST_BYTES:
        raise UnreadableError(f"is larger than {MOST_BYTES // 2**20} MiB, the most for one table")


def _refuse_many(cells: int) -> None:
    if cells > MOST_VALUES:
        raise UnreadableError(f"has more than {MOST_VALUES:,} cells, the most for one table")
