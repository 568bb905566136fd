"""Folders of files as they are found: damaged, foreign, hostile. Nothing in them ends in a traceback."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ingest.files import accuracy, write, write_old

import saltus
from saltus import SaltusError
from saltus.ingest import readers, rows, table
from saltus.ingest.readers import Reader

HOSTILE = "<script>alert(1)</script>[red]\x1b[31m\n\u202e"


def test_one_file_that_cannot_be_read_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST_JSON_BYTES", 2**20)
    write_old(tmp_path / "good_step1.json", "m", 1, {"piqa": accuracy(0.5)})
    whole = write_old(tmp_path / "bad_step2.json", "m", 2, {"piqa": accuracy(0.5)})
    whole.write_bytes(whole.read_bytes()[:-20])
    write(tmp_path / "deep.json", "[" * 100_000)
    write(tmp_path / "digits.json", "9" * 10_000)
    write(tmp_path / "large.json", " " * 2**20 + "{}")
    write(tmp_path / "list.json", "[1, 2]")
    write(tmp_path / "results.json", json.dumps({"results": [1], "config": {}}))
    write(tmp_path / "history.json", json.dumps({"log_history": {"a": 1}}))
    write(tmp_path / "letters.json", b"\xff\xfe{")
    write(tmp_path / "picture.png", b"\x89PNG")
    write(tmp_path / ".hidden" / "step3.json", "{")
    os.mkfifo(tmp_path / "pipe.json")  # would never end
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere.json")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "itself.json").symlink_to(tmp_path / "itself.json")
    curves = saltus.read(tmp_path)
    assert [curve.steps.tolist() for curve in curves] == [[1]]
    (unread,) = [note for note in curves.notes if "cannot be read" in note]
    assert unread.startswith("10 files cannot be read and were left out: ")
    assert "bad_step2.json (is no whole JSON (Expecting" in unread
    assert "deep.json (is nested too deeply)" in unread
    assert any(note.startswith("2 files are of no kind that is read and were left alone") for note in curves.notes)


def test_a_file_without_permission_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_old(tmp_path / "a_step1.json", "m", 1, {"piqa": accuracy(0.5)})
    write(tmp_path / "b.csv", "step,acc\n0,0.5\n")
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "b.csv":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    assert saltus.read(tmp_path).notes[0].endswith("b.csv (Permission denied)")


def test_a_folder_that_cannot_be_opened_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "shut"):
        write_old(tmp_path / name / "a_step1.json", "m", 1, {"piqa": accuracy(0.5)})
    listed = os.scandir

    def refuse(path: str) -> Any:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    note = f"1 folder cannot be opened and was left out: {tmp_path}/shut (Permission denied)"
    assert saltus.read(tmp_path).notes[0] == note


def test_each_file_is_read_once_and_links_are_followed(tmp_path: Path) -> None:
    write_old(tmp_path / "there" / "a_step1.json", "m", 1, {"piqa": accuracy(0.5)})
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    assert len(saltus.read(tmp_path / "here")) == 1
    curves = saltus.read(tmp_path, tmp_path / "there", tmp_path / "there" / "a_step1.json")
    assert not any("came again" in note for note in curves.notes)


def test_names_are_made_harmless(tmp_path: Path) -> None:
    write_old(tmp_path / "step1.json", HOSTILE, 1, {HOSTILE: accuracy(0.5), "x" * 10_000: accuracy(0.5)})
    curves = saltus.read(tmp_path)
    text = " ".join([*curves.groups, *curves.units, *curves.notes])
    assert text.isprintable()
    assert max(map(len, curves.units)) == 200
    assert "<script>" in text  # it is the page that escapes


@pytest.mark.parametrize(
    ("paths", "message"),
    [(["nowhere"], "nowhere is no file and no folder"), (["."], "there is nothing to read"), ([], "ReadSpec.paths")],
)
def test_where_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SaltusError, match=message):
        saltus.read(*paths)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["results", "config", "model_args", "pretrained", "log_history", "n-shot", "groups", "acc"])
            | st.sampled_from(
                ["acc_stderr", "step", "num_fewshot", "revision", "date", "seed", "value", "task", "", "a,b"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def read_or_refuse(path: Path) -> None:
    """Read it, or be told in one sentence why not."""
    sentence = ""
    try:
        curves = saltus.read(path)
    except SaltusError as error:
        sentence = str(error)
    else:
        assert len(curves) == len({curve.key for curve in curves})
    assert "\n" not in sentence


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=JSON, name=st.sampled_from(["step1.json", "a.jsonl"]), results=JSON)
def test_any_json_is_read_or_is_one_sentence(tmp_path: Path, content: Any, name: str, results: Any) -> None:
    if isinstance(content, dict):
        content |= {"results": results, "config": content.get("config")}
    read_or_refuse(write(tmp_path / name, json.dumps(content)))


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(alphabet='step,acc"\n0.5\r\t-e', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        read_or_refuse(write(tmp_path / name, b"step,acc\n" + content))


def test_whatever_a_reader_raises_stops_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise KeyError("21")

    monkeypatch.setitem(readers.READERS, "CSV", Reader(table.is_csv, fail))  # pyright: ignore[reportArgumentType]
    write(tmp_path / "odd.csv", "step,acc\n0,1\n")
    write(tmp_path / "good.jsonl", '{"step": 0, "acc": 0.5}\n')
    curves = saltus.read(tmp_path)
    assert len(curves) == 1
    assert any(note.endswith("odd.csv (KeyError: '21')") for note in curves.notes)
