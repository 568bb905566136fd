"""Event files of TensorBoard, read by its own package: an optional one, since nothing else here needs it."""

import logging
from collections.abc import Iterator
from typing import Any

from saltus.ingest.ledger import Ledger
from saltus.ingest.rows import MOST_BYTES, Labels, Reading, Row, Source, UnreadableError, clean, to_step
from saltus.specs.reading import ReadSpec


def is_event_file(source: Source) -> bool:
    """Whether its name is that of an event file."""
    return "tfevents" in source.path.name


def read_event_file(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A row for each scalar; each tag is a unit. Histograms, images and texts are left out."""
    if source.path.stat().st_size > MOST_BYTES:
        raise UnreadableError(f"is larger than {MOST_BYTES // 2**20} MiB, the most for one event file")
    try:
        from tensorboard.backend.event_processing.event_file_loader import (  # pyright: ignore[reportMissingImports]
            EventFileLoader,
        )
    except ImportError:
        raise UnreadableError("needs the package tensorboard to be read: pip install tensorboard") from None
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # a file that is cut short is no news to a reader
    try:
        events = list(EventFileLoader(str(source.path)).Load())
    except Exception as error:  # noqa: BLE001  # whatever a damaged file makes of the decoder
        raise UnreadableError(f"is no whole event file ({' '.join(str(error).split())})") from None
    return Reading(list(_list_rows(events)))


def _list_rows(events: list[Any]) -> Iterator[Row]:
    from tensorboard.util.tensor_util import make_ndarray  # pyright: ignore[reportMissingImports]

    for event in sorted(events, key=lambda event: event.wall_time):
        for value in event.summary.value:
            array = make_ndarray(value.tensor) if value.HasField("tensor") else None
            if array is not None and array.size == 1 and array.dtype.kind in "fiu":
                yield Row("", clean(value.tag), float(array.item()), Labels(step=to_step(event.step)))
