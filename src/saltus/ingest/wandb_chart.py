"""The CSV that a wandb workspace exports for a chart.

Each run has a column `RUN - METRIC`, one more with `__MIN` after that name and one with `__MAX`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from saltus.ingest.ledger import Ledger
from saltus.ingest.rows import Reading, Row, Source, UnreadableError
from saltus.ingest.table import find_usual, is_csv, list_records
from saltus.labels import clean, describe_run, to_number, to_step
from saltus.specs.reading import ReadSpec

_BETWEEN = " - "


def is_chart(source: Source) -> bool:
    """Whether it is a CSV whose first line has a column of a run, and that of its minimum."""
    if not is_csv(source):
        return False
    with source.path.open("rb") as file:
        first = file.readline(2**20)
    return b"__MIN" in first and b"__MAX" in first and _BETWEEN.encode() in first


def read_chart(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A row for each run, metric and step; the run's name says its group, and its seed where `seed3` is in it."""
    records = list_records(source, ledger)
    names = list(records[0]) if records else []
    step = spec.step or find_usual("step", [name for name in names if _BETWEEN not in name])
    if step not in names:
        raise UnreadableError(f"has no column {step or 'step'!r}")
    return Reading(list(_list_rows(records, names, step)))


def _list_rows(records: Sequence[Mapping[str, Any]], names: Sequence[str], step: str) -> Iterator[Row]:
    for name in names:
        run, between, metric = name.rpartition(_BETWEEN)
        if not between or name.endswith(("__MIN", "__MAX")) or metric.startswith("_"):
            continue
        said = describe_run(run)
        for record in records:
            value = to_number(record[name])
            if value is not None:
                yield Row("", clean(metric), value, said._replace(step=to_step(record[step])))
