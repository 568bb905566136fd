"""Event files, where TensorBoard's package is installed, and the sentence where it is not."""

import sys
from pathlib import Path

import pytest
from tests.ingest.files import write

import saltus
from saltus import Key, SaltusError


def write_events(folder: Path) -> Path:
    """Scalars of two tags, the last step of one of them written twice."""
    make_event = pytest.importorskip("tensorboard.compat.proto.event_pb2").Event
    make_summary = pytest.importorskip("tensorboard.compat.proto.summary_pb2").Summary
    open_writer = pytest.importorskip("tensorboard.summary.writer.event_file_writer").EventFileWriter
    writer = open_writer(str(folder))
    rows = [("acc", step, step / 64) for step in range(0, 40, 8)] + [("loss", 0, 2.5), ("acc", 32, 0.75)]
    for time, (tag, step, value) in enumerate(rows):
        summary = make_summary(value=[make_summary.Value(tag=tag, simple_value=value)])
        writer.add_event(make_event(wall_time=1000.0 + time, step=step, summary=summary))
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
