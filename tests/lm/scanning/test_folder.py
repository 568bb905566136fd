"""A scan loses nothing when it is ended, and notices what was damaged."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lm.tiny_scans import (
    FIRST,
    Interrupter,
    Interruption,
    LoadOnce,
    describe,
    make_suite,
    read_tables,
    run_scan,
    save_states,
)
from tests.lm.tiny_suite import MemorySuite

from saltus.errors import SaltusError
from saltus.lm.scanning import scan as scan_module
from saltus.lm.scanning.folder import ScanFolder
from saltus.storage.folder import AGAIN


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_states(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint is loaded once and not once for each scan."""
    monkeypatch.setattr(scan_module, "ModelLoader", LoadOnce)


@pytest.fixture(scope="module", params=["grid", "bisect", "robust"])
def unbroken(
    request: pytest.FixtureRequest, states: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> ScanFolder:
    """A scan that nothing happened to, with one checkpoint that is not there and one that is damaged."""
    folder = ScanFolder(tmp_path_factory.mktemp(request.param) / "scan")
    return run_scan(describe(request.param), make_suite(states, s2=None, s20="truncated"), folder)


# --- interruptions -----------------------------------------------------------------------------------------------


def test_scan_that_is_ended_at_any_moment_is_the_scan_that_was_not(
    unbroken: ScanFolder, states: dict[str, Path], tmp_path: Path
) -> None:
    spec, expected = unbroken.spec(), read_tables(unbroken)
    suite, folder = make_suite(states, s2=None, s20="truncated"), ScanFolder(tmp_path / "scan")
    for attempt in range(100):
        try:
            run_scan(spec, suite, folder, Interrupter(5 + attempt % 4))
        except Interruption:
            continue
        break
    assert folder.finished
    assert read_tables(folder) == expected
    assert len(suite.fetched) > len(expected["probes"]) // 7  # it was interrupted


KILLED = """
import json, os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
import torch
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.scanning.scan import scan
from saltus.lm.suites.base import Run
from saltus.specs.checkpoints import ScanSpec
from tests.lm.tiny_suite import MemorySuite, Silence

torch.set_num_threads(1)
setting = json.loads(sys.argv[1])
write, left = pq.write_table, 0

def write_and_die(table, path, **options):
    global left
    left -= 1
    write(table, path, **options)
    if left == 0:
        Path(path).write_bytes(Path(path).read_bytes()[:100])
        os.kill(os.getpid(), signal.SIGKILL)

pq.write_table = write_and_die
folders = {
    Run("1m", seed): {int(step): path and Path(path) for step, path in steps.items()}
    for seed, steps in setting["runs"].items()
}
spec, folder = ScanSpec(**setting["spec"]), ScanFolder(Path(setting["folder"]))
for left in setting["writes"]:  # each life ends in the middle of one write; one import serves for all
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), len(list(folder.path.rglob("*.partial"))), folder.finished)
        continue
    with folder.writing(spec):
        scan(spec, MemorySuite(folders), folder, Silence(), torch.device("cpu"))
        folder.finish({})
    os._exit(0)
"""


@pytest.mark.parametrize("unbroken", ["robust"], indirect=True)
def test_scan_that_is_killed_while_it_writes(unbroken: ScanFolder, states: dict[str, Path], tmp_path: Path) -> None:
    """With SIGKILL, in the middle of the runs, the prompts, several parts and the records; the last call ends it."""
    spec, folder = unbroken.spec(), ScanFolder(tmp_path / "scan")
    suite = make_suite(states, s2=None, s20="truncated")
    runs = {
        run.seed: {step: path and str(path) for step, path in steps.items()} for run, steps in suite.folders.items()
    }
    records = unbroken.records()
    parts = len(records.missing) + len(records.probes) // len(records.prompts)
    again = 2  # missing parts of earlier lives, which are asked for again
    writes = [1, 2, 1, 5, 3, parts - 3 + again]  # the last comes to the second table of the records
    setting = {"spec": spec.model_dump(mode="json"), "folder": str(folder.path), "runs": runs, "writes": writes}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(setting)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["-9 1 False"] * len(writes), done.stderr
    assert [path.name for path in folder.path.rglob("*.partial")] == ["records.partial"]
    run_scan(spec, suite, folder)
    assert list(folder.path.rglob("*.partial")) == []
    assert read_tables(folder) == read_tables(unbroken)


def test_full_disk_at_any_write_is_one_sentence_and_the_scan_resumes(
    states: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, suite, folder = describe("bisect"), make_suite(states, s2=None), ScanFolder(tmp_path / "scan")
    write, done = pq.write_table, [0]

    def write_on_a_full_disk(table: pa.Table, path: Path, **options: Any) -> None:
        if done[0] == 3:
            done[0] = 0
            path.write_bytes(b"PAR1")
            raise OSError(28, "No space left on device")
        done[0] += 1
        write(table, path, **options)

    monkeypatch.setattr(pq, "write_table", write_on_a_full_disk)
    failed, said = 0, set[str]()
    for _ in range(40):
        try:
            run_scan(spec, suite, folder)
        except SaltusError as error:
            said.add(str(error))
            failed += 1
            if failed == 20:
                monkeypatch.setattr(pq, "write_table", write)  # the records are more than three tables
        assert list(folder.path.rglob("*.partial")) == []
        if folder.finished:
            break
    assert folder.finished
    assert failed > 4
    assert said == {
        f"{folder.path} cannot be written ([Errno 28] No space left on device); free space or mend its permissions and "
        "run the same command again: what was whole is kept"
    }
    monkeypatch.setattr(pq, "write_table", write)
    assert read_tables(folder) == read_tables(run_scan(spec, suite, ScanFolder(tmp_path / "other")))


def test_suite_that_grows_is_gone_on_with(states: dict[str, Path], tmp_path: Path) -> None:
    spec, suite, folder = describe(), make_suite(states), ScanFolder(tmp_path / "scan")
    with pytest.raises(Interruption):
        run_scan(spec, suite, folder, Interrupter(20))
    larger = MemorySuite({run: {**steps, 50: states["nothing"]} for run, steps in suite.folders.items()})
    tables = read_tables(run_scan(spec, larger, folder))
    assert tables == read_tables(run_scan(spec, larger, ScanFolder(tmp_path / "other")))
    assert [row["steps"][-1] for row in tables["runs"]] == [50, 50]


# --- the folder --------------------------------------------------------------------------------------------------


def keep(folder: ScanFolder) -> dict[str, bytes]:
    """Every file but the lock."""
    files = [path for path in folder.path.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in files}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def remove(path: Path) -> None:
    path.unlink()


def break_part(change: Callable[[bytes], bytes]) -> Callable[[ScanFolder], Path]:
    def apply(folder: ScanFolder) -> Path:
        path = folder.path / "checkpoints" / "1m" / "0" / "00000004.parquet"
        path.write_bytes(change(path.read_bytes()))
        return path

    return apply


def flip(content: bytes) -> bytes:
    """One bit of what the first column says, far from header and footer."""
    return content[:60] + bytes([content[60] ^ 1]) + content[61:]


def swap(folder: ScanFolder) -> Path:
    path = folder.path / "checkpoints" / "1m" / "0" / "00000004.parquet"
    path.write_bytes(path.with_name("00000008.parquet").read_bytes())
    return path


def shorten(folder: ScanFolder) -> Path:
    path = folder.path / "checkpoints" / "1m" / "0" / "00000004.parquet"
    pq.write_table(pq.ParquetFile(path).read().slice(0, 6), path)
    return path


def rename_column(folder: ScanFolder) -> Path:
    path = folder.path / "checkpoints" / "1m" / "0" / "00000004.parquet"
    table = pq.ParquetFile(path).read()
    pq.write_table(table.rename_columns([*table.column_names[:-1], "edge"]), path)
    return path


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (break_part(lambda content: content[:-20]), "cannot be read"),
        (break_part(lambda _: b""), "cannot be read"),
        (swap, "is not of 1m seed 0 at step 4"),
        (shorten, "does not answer the prompts of the scan"),
        (rename_column, "has other columns than it should"),
    ],
)
def test_damaged_part_is_named_and_measured_again(
    apply: Callable[[ScanFolder], Path], message: str, states: dict[str, Path], tmp_path: Path
) -> None:
    spec, folder = describe(), ScanFolder(tmp_path / "scan")
    suite = MemorySuite({FIRST: dict.fromkeys((2, 4, 8, 10), states["half"])})
    with pytest.raises(Interruption):
        run_scan(spec, suite, folder, Interrupter(13))  # in the fourth checkpoint
    path = apply(folder)
    for use in (folder.records, lambda: run_scan(spec, suite, folder)):
        with pytest.raises(SaltusError, match=rf"^{path} {message}.*; delete it {AGAIN}: what it held is measured"):
            use()
    path.unlink()
    suite.fetched.clear()
    tables = read_tables(run_scan(spec, suite, folder))
    assert suite.fetched == [(FIRST, 4), (FIRST, 10)]
    assert tables == read_tables(run_scan(spec, suite, ScanFolder(tmp_path / "other")))


@pytest.mark.parametrize("name", ["runs.parquet", "prompts.parquet"])
def test_what_the_suite_and_its_tokenizer_say_is_asked_again_and_everything_else_is_kept(
    name: str, states: dict[str, Path], tmp_path: Path
) -> None:
    spec, folder = describe(), ScanFolder(tmp_path / "scan")
    suite = MemorySuite({FIRST: dict.fromkeys((2, 4, 8, 10), states["half"])})
    with pytest.raises(Interruption):
        run_scan(spec, suite, folder, Interrupter(13))
    path = folder.path / name
    path.write_bytes(path.read_bytes()[:-20])
    for use in (folder.records, lambda: run_scan(spec, suite, folder)):
        with pytest.raises(SaltusError, match=rf"^{path} cannot be read.*; delete it {AGAIN}: it is written anew"):
            use()
    path.unlink()
    kept, measured = keep(folder), suite.fetched.copy()
    with pytest.raises(SaltusError, match=rf"^{path} cannot be read"):
        folder.records()
    tables = read_tables(run_scan(spec, suite, folder))
    again = [(FIRST, 2)] if name == "prompts.parquet" else []  # for its tokenizer
    assert suite.fetched == [*measured, *again, (FIRST, 10)]
    assert keep(folder).items() >= kept.items()
    assert tables == read_tables(run_scan(spec, suite, ScanFolder(tmp_path / "other")))


def test_no_flipped_bit_goes_unnoticed(states: dict[str, Path], tmp_path: Path) -> None:
    folder = run_scan(describe(), MemorySuite({FIRST: {4: states["half"]}}), ScanFolder(tmp_path / "scan"))
    path, expected = folder.path / "checkpoints" / "1m" / "0" / "00000004.parquet", folder.measured(FIRST)[4]
    content, noticed = path.read_bytes(), 0
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            table = folder.measured(FIRST)[4]
        except SaltusError:
            noticed += 1
        else:  # not every bit is one that says something
            assert all(
                np.array_equal(table[name].to_numpy(), expected[name].to_numpy(), equal_nan=name == "margin")
                for name in expected.column_names
            )
    assert noticed > len(content) // 7 * 0.3


# --- a finished scan ---------------------------------------------------------------------------------------------


@pytest.fixture
def small(states: dict[str, Path]) -> MemorySuite:
    return MemorySuite({FIRST: {1: None, 2: states["half"]}})


def test_damaged_records_are_gathered_again(small: MemorySuite, tmp_path: Path) -> None:
    folder = run_scan(describe(), small, ScanFolder(tmp_path / "scan"))
    expected, path, others = read_tables(folder), folder.path / "records" / "probes.parquet", keep(folder)
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(SaltusError, match=rf"{path} differs from what was written; delete {path.parent}: the records"):
        folder.records()
    path.unlink()
    with pytest.raises(SaltusError, match=rf"{path} is missing"):
        folder.records()
    shutil.rmtree(path.parent)
    assert folder.records().finished
    assert read_tables(folder) == expected
    assert keep(folder).items() >= {name: content for name, content in others.items() if "records" not in name}.items()


def test_records_alone_are_a_scan_and_their_damage_is_no_reason_to_delete(small: MemorySuite, tmp_path: Path) -> None:
    """As where the folder was copied without its parts."""
    folder = run_scan(describe(), small, ScanFolder(tmp_path / "scan"))
    expected = read_tables(folder)
    for name in ("checkpoints", "missing"):
        shutil.rmtree(folder.path / name)
    assert read_tables(folder) == expected
    path = folder.path / "records" / "probes.parquet"
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(SaltusError, match=rf"bring it back from where .* copied from, or move {folder.path} away"):
        folder.records()
    folder.path.rename(tmp_path / "away")
    assert read_tables(run_scan(describe(), small, folder)) == expected


@pytest.mark.parametrize("damage", [cut_short, remove])
@pytest.mark.parametrize("name", ["scan.json", "finished.json"])
def test_description_and_summary_are_written_anew_beside_whole_records(
    name: str, damage: Callable[[Path], None], small: MemorySuite, tmp_path: Path
) -> None:
    folder = run_scan(describe(), small, ScanFolder(tmp_path / describe().identify("scan")))
    expected, kept = read_tables(folder), keep(folder)
    path = folder.path / name
    damage(path)
    if damage is cut_short:
        with pytest.raises(SaltusError, match=rf"^{path} cannot be read .*; delete it {AGAIN}: it is written anew"):
            folder.records()
        path.unlink()
    gone = MemorySuite({FIRST: {1: None, 2: None}})  # nothing can be measured again
    if name == "scan.json":
        folder.require(describe())
    else:
        run_scan(describe(), gone, folder)
    assert folder.finished
    assert read_tables(folder) == expected
    assert {file: content for file, content in keep(folder).items() if file != name} == {
        file: content for file, content in kept.items() if file != name
    }


@pytest.mark.parametrize("part", ["checkpoints/1m/0/00000002", "missing/1m/0/00000001", "runs", "prompts"])
@pytest.mark.parametrize("damage", [cut_short, remove])
def test_parts_of_a_scan_that_goes_on_are_written_anew_from_whole_records(
    part: str, damage: Callable[[Path], None], small: MemorySuite, states: dict[str, Path], tmp_path: Path
) -> None:
    """The checkpoints may be gone by then."""
    folder = run_scan(describe(), small, ScanFolder(tmp_path / "scan"))
    expected = read_tables(folder)
    damage(folder.path / f"{part}.parquet")
    assert read_tables(folder) == expected  # nobody reads it any more
    (folder.path / "finished.json").unlink()
    gone = MemorySuite({FIRST: {1: None, 2: None}})
    assert read_tables(run_scan(describe(), gone, folder)) == expected


def test_finished_scan_is_never_written_to(small: MemorySuite, tmp_path: Path) -> None:
    folder = run_scan(describe(), small, ScanFolder(tmp_path / "scan"))
    assert folder.summary() == {"answer": 42}

    def read() -> dict[Path, tuple[int, bytes]]:
        """All files but the lock, which some versions of filelock remove when it is released."""
        files = [path for path in folder.path.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = read()
    with pytest.raises(SaltusError, match="has just been finished by another process; run the same command again"):
        run_scan(describe(), small, folder)
    assert read() == before


# --- the folder itself -------------------------------------------------------------------------------------------


def test_leftovers_of_a_kill_are_removed(tmp_path: Path) -> None:
    folder, part = ScanFolder(tmp_path / "scan"), tmp_path / "scan" / "checkpoints" / "1m" / "0"
    part.mkdir(parents=True)
    (part / "00000004.parquet.partial").write_text("half")
    (folder.path / "records.partial").mkdir()
    with folder.writing(describe()):
        assert list(folder.path.rglob("*.partial")) == []


def test_folder_has_one_writer_and_one_spec(tmp_path: Path) -> None:
    folder = ScanFolder(tmp_path / "scan")
    with (
        folder.writing(describe()),
        pytest.raises(SaltusError, match="is being written by this process"),
        folder.writing(describe()),
    ):
        pass
    with pytest.raises(SaltusError, match=r"does not describe the scan [0-9a-f]{10} that was asked for"):
        run_scan(describe("bisect"), MemorySuite({}), folder)
    with pytest.raises(SaltusError, match="has no measured checkpoint"):
        folder.records()
    (folder.path / "scan.json").write_text('{"suite": 3}')
    with pytest.raises(SaltusError, match=rf"scan\.json describes no scan .*; delete it {AGAIN}: it is written anew"):
        folder.spec()


def test_an_edited_description_is_said_to_be_so(small: MemorySuite, tmp_path: Path) -> None:
    spec = describe()
    folder = run_scan(spec, small, ScanFolder(tmp_path / spec.identify("scan")))
    path = folder.path / "scan.json"
    path.write_text(path.read_text().replace('"threshold": 0.75', '"threshold": 0.5'))
    said = rf"^{path} was edited: the hash of its content is [0-9a-f]{{10}}, not {spec.content_hash}; delete it {AGAIN}"
    for use in (folder.records, lambda: folder.require(spec)):
        with pytest.raises(SaltusError, match=said):
            use()
    path.unlink()
    folder.require(spec)
    assert folder.records().spec == spec
