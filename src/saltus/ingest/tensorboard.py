"""Event files of TensorBoard, read by its own package: an optional one, since nothing else here needs it."""

from collections.abc import Iterator, Sequence
from typing import Any

from saltus.ingest.ledger import Ledger
from saltus.ingest.rows import MOST_BYTES, Reading, Row, Source, UnreadableError
from saltus.labels import Labels, clean, to_step
from saltus.specs.reading import ReadSpec

_FRAME = 16
"""Bytes that stand around each record: its length and two checksums."""


def is_event_file(source: Source) -> bool:
    """Whether its name is that of an event file."""
    return "tfevents" in source.path.name


def read_event_file(source: Source, spec: ReadSpec, ledger: Ledger) -> Reading:
    """A row for each scalar; each tag is a unit. Histograms, images and texts are left out."""
    size = source.path.stat().st_size
    if size > MOST_BYTES:
        raise UnreadableError(f"is larger than {MOST_BYTES // 2**20} MiB, the most for one event file")
    try:
        from tensorboard.backend.event_processing import event_file_loader  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UnreadableError("needs the package tensorboard to be read: pip install tensorboard") from None
    records: list[bytes] = list(event_file_loader.RawEventFileLoader(str(source.path)).Load())
    # The package stops at the first record that is damaged, and does not say so.
    if (read := sum(len(record) + _FRAME for record in records)) < size:
        one = "event file is cut short or damaged, and what comes after is left out"
        many = "event files are cut short or damaged, and what comes after is left out"
        ledger.add(one, many, f"{source.name} after byte {read:,} of {size:,}")
    if not records:
        raise UnreadableError("holds no events")
    return Reading(list(_list_rows(records, source, ledger)))


def _list_rows(records: Sequence[bytes], source: Source, ledger: Ledger) -> Iterator[Row]:
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue, reportMissingImports]
    from tensorboard.util.tensor_util import make_ndarray  # pyright: ignore[reportMissingImports]

    def tell(error: Exception) -> None:
        place = f"{source.name} ({type(error).__name__}: {clean(error)})"
        ledger.add("record is no event and is left out", "records are no events and are left out", place)

    def to_scalar(value: Any) -> float | None:
        kind = value.WhichOneof("value")
        if kind != "tensor":
            return value.simple_value if kind == "simple_value" else None
        array = make_ndarray(value.tensor)
        return float(array.item()) if array.size == 1 and array.dtype.kind in "fiu" else None

    for record in records:
        try:
            event: Any = Event.FromString(record)
            found = [(value.tag, to_scalar(value)) for value in event.summary.value]
        except Exception as error:  # noqa: BLE001 - protobuf and numpy fail in any way
            tell(error)
            continue
        for tag, number in found:
            if number is not None:
                yield Row("", clean(tag), number, Labels(step=to_step(event.step)), written=event.wall_time)
