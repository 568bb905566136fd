"""Event files, where TensorBoard's package is installed, and the sentence where it is not."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.files import write

import saltus
from saltus import Key, SaltusError


def write_events(folder: Path, begun: float = 1000.0, value: float | None = None) -> Path:
    """Scalars of two tags, the last step of one of them written twice; all of one value if it is given."""
    make_event = pytest.importorskip("tensorboard.compat.proto.event_pb2").Event
    make_summary = pytest.importorskip("tensorboard.compat.proto.summary_pb2").Summary
    open_writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer").EventFileWriter
    writer = open_writer(str(folder))
    rows = [("acc", step, step / 64) for step in range(0, 40, 8)] + [("loss", 0, 2.5), ("acc", 32, 0.75)]
    for time, (tag, step, number) in enumerate(rows):
        summary = make_summary(value=[make_summary.Value(tag=tag, simple_value=number if value is None else value)])
        writer.add_event(make_event(wall_time=begun + time, step=step, summary=summary))
    writer.close()
    (path,) = folder.glob("*tfevents*")
    return path


def test_scalars_become_curves_and_the_latest_counts(tmp_path: Path) -> None:
    write_events(tmp_path / "wide" / "seed3")
    curves = saltus.read(tmp_path)
    assert [curve.key for curve in curves] == [Key("wide", "3", "acc"), Key("wide", "3", "loss")]
    assert curves[0].values.tolist() == [0.0, 0.125, 0.25, 0.375, 0.75]
    assert "1 value came again at the same step, and the latest counts: wide, seed 3, acc, step 32" in curves.notes


def test_a_file_that_is_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    path = write_events(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    curves = saltus.read(tmp_path)
    assert curves.select(unit="acc")[0].values.tolist() == [0.0, 0.125, 0.25, 0.375, 0.5]
    assert "1 event file is cut short or damaged, and what comes after is left out" in curves.notes[0]


def test_without_the_package_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing", None)
    write(tmp_path / "events.out.tfevents.1", b"")
    with pytest.raises(SaltusError, match="needs the package tensorboard to be read: pip install tensorboard"):
        saltus.read(tmp_path)
    write(tmp_path / "log.csv", "step,acc\n0,0.5\n")
    assert "1 file cannot be read and was left out" in saltus.read(tmp_path).notes[0]  # the others are read


def test_what_was_logged_last_counts_whatever_the_times_of_files(tmp_path: Path) -> None:
    first, again = write_events(tmp_path / "first"), write_events(tmp_path / "again", 2000.0, 1.0)
    for folder, path in ((tmp_path / "logs", first), (tmp_path / "logs", again)):
        write(folder / f"events.out.tfevents.{len(list(tmp_path.glob('logs/*')))}", path.read_bytes())
    for path in (tmp_path / "logs").iterdir():
        os.utime(path, (0.0, 3000.0 - int(path.name[-1])))  # the first was copied last
    (curve,) = saltus.read(tmp_path / "logs").select(unit="acc")
    assert curve.values.tolist() == [1.0, 1.0, 1.0, 1.0, 1.0]


def test_a_record_that_is_no_event_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    make_event = pytest.importorskip("tensorboard.compat.proto.event_pb2").Event
    make_summary = pytest.importorskip("tensorboard.compat.proto.summary_pb2").Summary
    make_tensor = pytest.importorskip("tensorboard.compat.proto.tensor_pb2").TensorProto
    record_writer = pytest.importorskip("tensorboard.summary.writer.record_writer").RecordWriter

    def make(step: int, **value: Any) -> bytes:
        summary = make_summary(value=[make_summary.Value(tag="acc", **value)])
        return make_event(wall_time=1000.0 + step, step=step, summary=summary).SerializeToString()

    with (tmp_path / "events.out.tfevents.1").open("wb") as file:
        writer = record_writer(file)
        for record in (
            make(0, simple_value=0.25),
            b"\xff no event",
            make(1, tensor=make_tensor(dtype=21, tensor_content=b"abc")),
            make(2, tensor=make_tensor(dtype=1, tensor_content=b"abc")),
            make(3, simple_value=0.75),
        ):
            writer.write(record)
    write(tmp_path / "other" / "log.csv", "step,loss\n0,0.5\n")
    curves = saltus.read(tmp_path)
    assert curves.select(unit="acc")[0].values.tolist() == [0.25, 0.75]
    assert len(curves.select(unit="loss")) == 1
    assert any("3 records are no events and are left out" in note for note in curves.notes)
