"""What a reader makes of a file: rows, the labels that the file's content states, and what was wrong with it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from saltus.labels import Labels, clean

MOST_BYTES = 256 * 2**20
"""Of one file."""

MOST_VALUES = 5_000_000
"""Of one file, and of all files of one reading."""

MOST_JSON_BYTES = 64 * 2**20
"""Of one JSON file, which has to be parsed as a whole."""


class UnreadableError(Exception):
    """A file cannot be read; the message says why, as the end of a sentence. It stops no other file."""


class Row(NamedTuple):
    """One value."""

    unit: str
    """What was evaluated, such as a task; empty where the metric says it all."""
    metric: str
    value: float
    labels: Labels = Labels()
    """Those of the row itself, where each row has its own."""
    error: float = float("nan")
    """Standard error of the value."""
    written: float | None = None
    """When, in seconds since the epoch, where each row says it."""


@dataclass(frozen=True)
class Reading:
    """What was read from one file."""

    rows: Sequence[Row]
    model: str = ""
    """The model that was evaluated, as the content names it; empty where it does not."""
    revision: str = ""
    """The revision of that model."""
    written: float | None = None
    """When the results were made, in seconds since the epoch, as the content says."""
    columns: tuple[str, ...] = ()
    """Those of the metrics that were asked for that are columns of a table, and so may have other names as metrics."""


@dataclass(frozen=True)
class Source:
    """A file, under the root that was asked for."""

    path: Path
    root: Path

    @property
    def inside(self) -> str:
        """The path below the root; of a file that was asked for itself, the path as it was given."""
        if self.path != self.root:
            return self.path.relative_to(self.root).as_posix()
        return self.path.name if self.path.is_absolute() else self.path.as_posix()

    @property
    def name(self) -> str:
        """For sentences: the path from the root on."""
        return clean(self.inside if self.path == self.root else f"{self.root.name}/{self.inside}")

    @cached_property
    def content(self) -> Any:
        """The JSON value in it.

        Raises:
            UnreadableError: if it holds none.

        """
        try:
            if self.path.stat().st_size > MOST_JSON_BYTES:
                raise UnreadableError(f"is larger than {MOST_JSON_BYTES // 2**20} MiB, the most for one JSON file")
            return json.loads(self.path.read_bytes())
        except RecursionError:
            raise UnreadableError("is nested too deeply") from None
        except ValueError as error:  # of JSON, of UTF-8, and of numbers with thousands of digits
            raise UnreadableError(f"is no whole JSON ({error})") from None


def name_task(task: Any, shots: float) -> str:
    """The unit that a task is, such as `piqa`, or `piqa, 5-shot` with as many examples before the question."""
    return clean(task) if shots == 0.0 else f"{clean(task)}, {shots:g}-shot"


def to_label(value: Any) -> str | None:
    """The name of a group or a seed; None where it is empty. A seed of 3.0 is the seed 3."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return clean(value) or None
