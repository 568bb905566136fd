"""The folder of results, on a kind made for the test: described once, held by one, finished once, never lost."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from filelock import FileLock

from saltus.errors import SaltusError
from saltus.specs.base import Spec, digest
from saltus.storage.files import HeldError, hold, replace_folder, write_file
from saltus.storage.folder import Folder
from saltus.storage.listing import Listing
from saltus.storage.tables import Damaged, read_any_table, read_json, verify


class CountSpec(Spec):
    """How far to count."""

    upto: int = 3
    by: int = 1

    @property
    def former_hash(self) -> str:
        return digest({"upto": self.upto})


class CountFolder(Folder[CountSpec]):
    """Numbers, each committed in a file of its own."""

    kind: ClassVar[str] = "count"
    description: ClassVar[str] = "count.json"
    specs: ClassVar[type[CountSpec]] = CountSpec

    def commit(self, number: int) -> None:
        self._write(self.path / "parts" / f"{number}.txt", lambda path: path.write_text(str(number)))

    def gather(self, folder: Path) -> None:
        parts = sorted((self.path / "parts").glob("*.txt"))
        (folder / "numbers.txt").write_text(" ".join(part.read_text() for part in parts))


SPEC = CountSpec(upto=2)


def count(root: Path, spec: CountSpec = SPEC) -> CountFolder:
    folder = CountFolder.find(root, spec, "count")
    with folder.writing(spec):
        for number in range(spec.upto):
            folder.commit(number)
        folder.finish({"seconds": 1.5})
    return folder


def test_a_folder_is_named_by_what_decides_the_numbers(tmp_path: Path) -> None:
    folder = count(tmp_path)
    assert folder.path.name == f"count-{SPEC.content_hash}"
    assert (folder.spec(), folder.finished, folder.summary()) == (SPEC, True, {"seconds": 1.5})
    assert (folder.path / "records" / "numbers.txt").read_text() == "0 1"
    assert CountFolder.find(tmp_path, CountSpec(upto=2, by=1), "count").path == folder.path  # a default is left out
    assert CountFolder.find(tmp_path, CountSpec(upto=2, by=2), "count").path != folder.path
    assert [found.path for found in CountFolder.list(tmp_path)] == [folder.path]


def test_the_same_under_another_name_is_found_once_it_is_finished(tmp_path: Path) -> None:
    other = CountFolder(tmp_path / f"other-{SPEC.content_hash}")
    with other.writing(SPEC):
        other.commit(0)
    assert CountFolder.find(tmp_path, SPEC, "count").path.name.startswith("count-")
    with other.writing(SPEC):
        other.finish({})
    assert CountFolder.find(tmp_path, SPEC, "count").path == other.path


def test_who_looks_for_many_lists_the_root_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = count(tmp_path)
    specs = [SPEC, *(CountSpec(upto=upto) for upto in range(3, 9))]
    alone = [CountFolder.find(tmp_path, spec, "numbers").path for spec in specs]
    listed: list[Path] = []
    iterdir = Path.iterdir

    def watch(path: Path) -> Iterator[Path]:
        listed.append(path)
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", watch)
    monkeypatch.setattr(Path, "glob", None)  # which lists as well
    listing = Listing(tmp_path)
    assert [CountFolder.find(tmp_path, spec, "numbers", listing).path for spec in specs] == alone
    assert alone[0] == there.path
    assert listed == [tmp_path]
    assert Listing(tmp_path / "nowhere").hashed(SPEC.content_hash) == []


def test_a_folder_of_version_0_1_is_found_and_read(tmp_path: Path) -> None:
    former = tmp_path / f"count-{SPEC.former_hash}"
    count(tmp_path).path.rename(former)
    found = CountFolder.find(tmp_path, SPEC, "count")
    assert (found.path, found.spec()) == (former, SPEC)


@pytest.mark.parametrize("name", ["mine", "count-0123456789"])
def test_a_hash_in_the_name_is_compared_with_the_description(tmp_path: Path, name: str) -> None:
    path = count(tmp_path).path.rename(tmp_path / name)
    if name == "mine":  # without a hash there is nothing to compare
        assert CountFolder(path).spec() == SPEC
        return
    with pytest.raises(SaltusError, match=r"count\.json was edited: the hash of its content is .*, not 0123456789;"):
        CountFolder(path).spec()


def test_another_description_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    folder = CountFolder(tmp_path / "mine")
    with folder.writing(SPEC):
        folder.commit(0)
    before = (folder.path / "count.json").read_text()
    with pytest.raises(SaltusError, match="does not describe the count"), folder.writing(CountSpec(upto=9)):
        pass
    assert (folder.path / "count.json").read_text() == before


def test_what_is_held_is_said_to_be(tmp_path: Path) -> None:
    folder = CountFolder(tmp_path / "mine")
    assert not folder.held
    assert not folder.path.exists()  # asking creates nothing
    with folder.writing(SPEC):
        assert folder.held
        with pytest.raises(HeldError, match=r"being written by this process; .* monitor.close\(\)"), hold(folder.path):
            pass
    assert not folder.held
    holder = "import sys, time; from pathlib import Path; from saltus.storage.files import hold"
    holder += "\nwith hold(Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holder, str(folder.path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(HeldError, match="being written by another process; wait for it"), hold(folder.path):
            pass
        other.kill()


@pytest.mark.parametrize("read", [read_json, read_any_table])
def test_what_may_not_be_read_is_not_to_be_deleted(
    read: Callable[[Path, Damaged], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests may be run by root, who may read everything."""
    path = tmp_path / "mine" / "count.json"

    def refuse(*given: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr("pyarrow.parquet.ParquetFile", refuse)
    with pytest.raises(SaltusError, match=r"cannot be read \(Permission denied\); mend that, or leave the folder out"):
        read(path, CountFolder(tmp_path / "mine").damaged)


def test_json_that_is_nested_too_deeply_cannot_be_read(tmp_path: Path) -> None:
    folder = count(tmp_path)
    (folder.path / "finished.json").write_text(f'{{"a": {"[" * 100_000}')
    with pytest.raises(SaltusError, match=r"finished\.json cannot be read \(.*; delete it"):
        folder.summary()


@pytest.mark.parametrize("name", [".", "", "..", "../count.json", "/etc/passwd", "x" * 5_000, "a\0b", "numbers.txt/"])
def test_a_manifest_lists_nothing_but_files_beside_it(tmp_path: Path, name: str) -> None:
    folder = count(tmp_path)
    verify(folder.path / "records", folder.damaged)
    (folder.path / "records" / "manifest.json").write_text(json.dumps({name: "0"}))
    with pytest.raises(SaltusError, match=r"is missing; delete|is no name of a file; delete .*records: the records"):
        verify(folder.path / "records", folder.damaged)


def test_a_look_at_whether_it_is_held_hinders_no_start(tmp_path: Path) -> None:
    """The look takes the lock, for a moment."""
    look = FileLock(tmp_path / ".lock", thread_local=False)
    look.acquire()
    over = threading.Timer(0.05, look.release)
    over.start()
    with hold(tmp_path):
        assert not look.is_locked
    over.join()


def test_a_failure_is_kept_until_the_next_attempt(tmp_path: Path) -> None:
    folder = CountFolder(tmp_path / "mine")
    assert folder.failure is None
    with folder.writing(SPEC):
        folder.fail("no luck")
    assert CountFolder(folder.path).failure == "no luck"
    with folder.writing(SPEC):
        assert folder.failure is None


def cut(path: Path) -> None:
    path.write_text(path.read_text()[:5])


@pytest.mark.parametrize("name", ["count.json", "finished.json"])
@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_description_and_a_summary_are_written_anew(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = count(tmp_path)
    kept = {path: path.read_bytes() for path in folder.path.rglob("*.txt")}
    path = folder.path / name
    damage(path)
    if path.exists():
        with pytest.raises(SaltusError, match=re.escape(f"{path} cannot be read")) as caught:
            folder.spec() if name == "count.json" else folder.summary()
        assert "delete it and give the command that made the folder again" in str(caught.value)
        path.unlink()
    if folder.finished:
        folder.require(SPEC)
    else:
        with folder.writing(SPEC):
            folder.finish({"seconds": 2.5})
    assert json.loads(path.read_text())
    assert {path: path.read_bytes() for path in folder.path.rglob("*.txt")} == kept


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("stop")

    with pytest.raises(OSError, match="stop"):
        write_file(tmp_path / "file", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_replacement_was_killed_halfway_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any of the renames: a kill leaves what stands on disk at that moment."""
    folder = count(tmp_path)
    records = folder.path / "records"
    replace = Path.replace
    for last in range(3):
        done: list[Path] = []

        def rename(path: Path, target: Path, last: int = last, done: list[Path] = done) -> Path:
            if len(done) == last:
                raise KeyboardInterrupt
            done.append(path)
            return replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", rename)
            with pytest.raises(KeyboardInterrupt):
                replace_folder(records, lambda path: (path / "numbers.txt").write_text("new"))
        with folder.writing(SPEC, again=True):
            assert (records / "numbers.txt").read_text() == "0 1"
            assert list(folder.path.rglob("*.partial")) == []
    replace_folder(records, lambda path: (path / "numbers.txt").write_text("new"))
    assert (records / "numbers.txt").read_text() == "new"
