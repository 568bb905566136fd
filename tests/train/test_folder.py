"""The run folder: whole or not at all, damage is named, a finished run stays as it is, a full disk costs nothing."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from safetensors import SafetensorError
from safetensors.numpy import save_file

import saltus
from saltus.curves import Rule
from saltus.errors import SaltusError
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.storage import tables as storage
from saltus.tasks.base import TaskFacts
from saltus.tasks.build import build_task
from saltus.train.folder import RunFolder
from saltus.train.measures import MEASURES
from saltus.train.records import SnapshotRows, Snapshots

Arrays = dict[str, np.ndarray[Any, Any]]
Saltus = Callable[..., tuple[int, str, str]]

KEYS = {"seed": [0, 1], "unit": [0, 0], "query": [0, 0], "layer": [0, 0], "head": [0, 0]}


@pytest.fixture
def facts(tiny: RunSpec) -> TaskFacts:
    return build_task(tiny.task, Streams(tiny.master_seed).generator("task")).facts


@pytest.fixture
def folder(tiny: RunSpec, tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / tiny.run_id)


def states_at(step: int, size: int = 4) -> list[Arrays]:
    """For two seeds, weights and moments that tell the step and the seed."""
    return [
        {name: np.full(size, step + seed / 10 + i / 100, np.float32) for i, name in enumerate(("w", "exp_avg"))}
        for seed in range(2)
    ]


def tables_at(step: int) -> dict[str, pa.Table]:
    """One row for each of two seeds in every table, the values being the step."""
    return {
        name: pa.table(
            {field.name: pa.array(KEYS.get(field.name, [step, step])).cast(field.type) for field in schema},
            schema=schema,
        )
        for name, schema in ((measure.name, measure.schema) for measure in MEASURES)
    }


def snapshots_at(step: int) -> SnapshotRows:
    return SnapshotRows.of(Snapshots(np.array([step]), np.full((1, 2, 1, 2, 4, 7), step, np.float16)))


def stand(folder: RunFolder) -> int:
    """The step at which both seeds stand."""
    (step,) = {checkpoint.step for checkpoint in folder.newest().values()}
    return step


def commit(folder: RunFolder, *steps: int, size: int = 4) -> None:
    for step in steps:
        folder.commit(step, dict(enumerate(states_at(step, size))), tables_at(step), snapshots_at(step))


def fingerprint(path: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of change of every file."""
    files = [p for p in sorted(path.rglob("*")) if p.is_file()]
    return {str(p.relative_to(path)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns) for p in files}


def partials(path: Path) -> list[Path]:
    return list(path.rglob("*.partial"))


# --- what is written can be read ---------------------------------------------------------------------------------


def test_round_trip(folder: RunFolder, tiny: RunSpec, facts: TaskFacts) -> None:
    with folder.training(tiny, facts):
        assert folder.spec() == tiny
        assert folder.load([0, 1]) == {}
        assert folder.checkpoint_steps() == []
        with pytest.raises(SaltusError, match="has no checkpoint yet"):
            folder.records()
        commit(folder, 0, 9, 10)
        assert folder.checkpoint_steps() == [0, 9, 10]
        assert stand(folder) == 10
        for state, expected in zip(folder.load([0, 1]).values(), states_at(10), strict=True):
            assert state.keys() == expected.keys()
            for name, value in state.items():
                assert_array_equal(value, expected[name])
        unfinished = folder.records()
        assert not unfinished.finished
        folder.finish({"last_step": 10})
    records = folder.records()
    assert records.finished
    assert folder.summary() == {"last_step": 10}
    assert records.spec == tiny
    assert_array_equal(records.evaluated_steps, [0, 9, 10])
    assert_array_equal(records.snapshots.steps, [0, 9, 10])
    assert_array_equal(records.snapshots.attention[:, 0, 0, 0, 0, 0], [0, 9, 10])
    assert_array_equal(records.cube("steps", "loss"), [[0, 9, 10]] * 2)
    for measure in MEASURES:
        assert records.tables[measure.name].equals(unfinished.tables[measure.name])
        assert records.tables[measure.name].schema == measure.schema
    for name in ("truth", "candidates", "unit_of_query", "chance_loss", "floor_loss"):
        assert_array_equal(getattr(records.facts, name), getattr(facts, name))
    assert (records.facts.units, records.facts.corners) == (facts.units, facts.corners)
    assert_array_equal(folder.weights(9, seed=1)["w"], states_at(9)[1]["w"])
    assert [run.path for run in RunFolder.list(folder.path.parent)] == [folder.path]


def test_weights_that_were_never_kept_are_said_to_be_so_and_nothing_is_called_lost(
    folder: RunFolder, tiny: RunSpec, facts: TaskFacts
) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0, 9)
    with pytest.raises(SaltusError, match=r"step: 5 was given; .* has the weights of 0, 9, and of no other") as caught:
        folder.weights(5, seed=0)
    assert "delete" not in str(caught.value)
    with pytest.raises(SaltusError, match=r"seed: 2 was given; .* has the seeds 0 to 1"):
        folder.weights(9, seed=2)


def test_a_copied_checkpoint_or_one_named_with_odd_digits_is_none(
    folder: RunFolder, tiny: RunSpec, facts: TaskFacts
) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0, 9)
    for name in ("9", "00000009 (copy)", "٠٠٠٠٠٠٠٩", "00000²09"):
        shutil.copytree(folder.path / "checkpoints" / "00000009", folder.path / "checkpoints" / name)
    assert folder.checkpoint_steps() == [0, 9]
    assert_array_equal(folder.records().evaluated_steps, [0, 9])


def test_moments_are_kept_for_two_checkpoints_and_for_the_last_of_a_finished_run(
    folder: RunFolder, tiny: RunSpec, facts: TaskFacts
) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0, 1, 2)
        kept = {path.parent.name for path in folder.path.rglob("moments-*")}
        assert kept == {"00000001", "00000002"}
        folder.finish({})
    assert {path.parent.name for path in folder.path.rglob("moments-*")} == {"00000002"}
    assert len(list(folder.path.rglob("seed-*"))) == 6


def test_leftovers_are_ignored_and_removed(folder: RunFolder, tiny: RunSpec, facts: TaskFacts) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0, 5)
    half = folder.path / "checkpoints" / "00000010.partial"
    half.mkdir()
    (half / "seed-0000.safetensors").write_bytes(b"half")
    (folder.path / "records.partial").mkdir()
    (folder.path / "spec.json.partial").write_text("{")
    assert folder.checkpoint_steps() == [0, 5]
    assert_array_equal(folder.records().evaluated_steps, [0, 5])
    with folder.training(tiny, facts):
        assert partials(folder.path) == []
        commit(folder, 10)
    assert folder.checkpoint_steps() == [0, 5, 10]


def test_no_file_is_a_pickle() -> None:
    """Reading a run folder must not execute what is in it."""
    sources = list(Path(saltus.__file__).parent.rglob("*.py"))
    assert len(sources) > 20
    pattern = re.compile(r"\b(pickle|torch\.(save|load)|joblib|allow_pickle|np\.(save|savez|load))\b")
    assert [path for path in sources if pattern.search(path.read_text())] == []


# --- damage ------------------------------------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1 if path.suffix == ".safetensors" else len(content) // 2] ^= 0x10
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut_short, flip_byte, remove])
@pytest.mark.parametrize(
    "name",
    [
        "00000010/seed-0001.safetensors",
        "00000010/moments-0000.safetensors",
        "00000010/patterns.safetensors",
        "00000010/units.parquet",
        "00000010/manifest.json",
        "00000005/seed-0000.safetensors",
        "00000000/heads.parquet",
    ],
)
def test_damaged_checkpoint_is_named_with_a_remedy(
    folder: RunFolder, tiny: RunSpec, facts: TaskFacts, name: str, damage: Callable[[Path], None]
) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0, 5, 10)
    path = folder.path / "checkpoints" / name
    damage(path)
    if name.startswith("00000005"):  # the weights on the way are not needed to go on
        assert folder.load([0, 1]).keys() == {0, 1}
        assert stand(folder) == 10
        assert_array_equal(folder.records().evaluated_steps, [0, 5, 10])
        if damage is not flip_byte:
            with pytest.raises(SaltusError, match="the weights of seed 0 at this step are lost, and nothing else"):
                folder.weights(5, seed=0)
        return
    with pytest.raises(SaltusError) as caught:
        folder.load([0, 1])
    message = str(caught.value)
    assert str(path.parent if name.endswith("manifest.json") else path) in message
    assert "\n" not in message
    if "parquet" in name or "patterns" in name:
        with pytest.raises(SaltusError, match=re.escape(str(path))):
            folder.records()
    # What the message says to do works.
    if name.startswith("00000010"):
        assert f"delete {path.parent} and run the same command again: it resumes from step 5" in message
        shutil.rmtree(path.parent)
        assert stand(folder) == 5
        assert_array_equal(folder.load([0, 1])[1]["exp_avg"], states_at(5)[1]["exp_avg"])
    else:
        assert f"move {folder.path} away and run the same command again" in message
        assert "delete" not in message


@pytest.mark.parametrize("damage", [cut_short, flip_byte, remove])
@pytest.mark.parametrize("name", ["units.parquet", "patterns.safetensors", "manifest.json"])
def test_damaged_records_are_named_with_a_remedy(
    finished: RunFolder, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    folder = RunFolder(tmp_path / finished.path.name)
    shutil.copytree(finished.path, folder.path)
    path = folder.path / "records" / name
    damage(path)
    with pytest.raises(SaltusError, match=re.escape(f"delete {path.parent}: ")) as caught:
        folder.records()
    assert str(path.parent if name == "manifest.json" else path) in str(caught.value)
    shutil.rmtree(path.parent)
    assert_array_equal(folder.records().cube("units", "loss"), finished.records().cube("units", "loss"))


@pytest.mark.parametrize(("column", "readable"), [("lowest_train_loss", True), ("loss", False)])
def test_a_column_that_older_versions_did_not_write_may_be_missing(
    finished: RunFolder, tmp_path: Path, column: str, readable: bool
) -> None:
    folder = RunFolder(tmp_path / finished.path.name)
    shutil.copytree(finished.path, folder.path)
    path = folder.path / "records" / "steps.parquet"
    pq.write_table(pq.read_table(path).drop_columns(column), path)
    manifest = path.parent / "manifest.json"
    hashes = json.loads(manifest.read_text()) | {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(hashes))
    if readable:
        records = folder.records()
        assert np.isnan(records.cube("steps", column)).all()
        with pytest.raises(SaltusError, match=f"do not say {column}, as version 0\\.1 or before made them"):
            records.curves_of(column, Rule(below=1.3))
    else:
        with pytest.raises(SaltusError, match="other columns"):
            folder.records()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"name": "tiny"}', '{"nam', "\x00\x01", "edited"],
    ids=["empty", "list", "cut", "keys", "mid", "0", "edited"],
)
def test_damaged_spec_is_named_with_a_remedy(folder: RunFolder, tiny: RunSpec, facts: TaskFacts, content: str) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0, 5)
    path = folder.path / "spec.json"
    path.write_text(path.read_text().replace('"heads": 2', '"heads": 4') if content == "edited" else content)
    with pytest.raises(SaltusError, match=re.escape(f"{path} ")) as caught, folder.training(tiny, facts):
        pass
    assert "delete it and give the command that made the folder again" in str(caught.value)
    with pytest.raises(SaltusError, match=re.escape(f"{path} ")):
        folder.records()
    path.unlink()
    with folder.training(tiny, facts):
        assert folder.spec() == tiny
        assert folder.checkpoint_steps() == [0, 5]


@pytest.mark.parametrize("damage", [cut_short, remove])
def test_damaged_task_is_named_with_a_remedy(
    folder: RunFolder, tiny: RunSpec, facts: TaskFacts, damage: Callable[[Path], None]
) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0)
    path = folder.path / "task.safetensors"
    damage(path)
    with pytest.raises(SaltusError, match=re.escape(f"{path} cannot be read")) as caught:
        folder.records()
    assert "delete it and give the command that made the folder again: it is written anew" in str(caught.value)
    path.unlink(missing_ok=True)
    with folder.training(tiny, facts):
        assert_array_equal(folder.records().facts.truth, facts.truth)


def test_task_without_what_belongs_in_it_is_named(folder: RunFolder, tiny: RunSpec, facts: TaskFacts) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0)
    path = folder.path / "task.safetensors"
    save_file({"truth": facts.truth}, path)
    with pytest.raises(SaltusError, match=re.escape(f"{path} cannot be read")):
        folder.records()


# --- other writers and other descriptions ------------------------------------------------------------------------


def test_second_writer_is_refused_until_the_first_is_done(folder: RunFolder, tiny: RunSpec, facts: TaskFacts) -> None:
    other = RunFolder(folder.path)
    with folder.training(tiny, facts):
        commit(folder, 0)
        leftover = folder.path / "checkpoints" / "00000005.partial"
        leftover.mkdir()
        with pytest.raises(SaltusError, match="is being written by this process"), other.training(tiny, facts):
            pass
        assert leftover.exists()  # it is the first writer's
        assert_array_equal(other.records().evaluated_steps, [0])  # but reading is free
    with other.training(tiny, facts):
        assert not leftover.exists()


def test_lock_of_a_killed_writer_is_gone(folder: RunFolder, tiny: RunSpec, facts: TaskFacts) -> None:
    """The lock is the system's and not the file's presence."""
    with folder.training(tiny, facts):
        pass
    code = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n    print('held', flush=True)\n    input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SaltusError, match="another process"), folder.training(tiny, facts):
            pass
        holder.kill()
    assert (folder.path / ".lock").exists()
    with folder.training(tiny, facts):
        pass


@pytest.mark.parametrize("done", [False, True])
def test_other_description_is_refused(
    finished: RunFolder, tiny: RunSpec, tmp_path: Path, saltus: Saltus, *, done: bool
) -> None:
    """As after an edit by hand, or where two contents share a hash."""
    folder = RunFolder(tmp_path / tiny.run_id)
    shutil.copytree(finished.path, folder.path)
    if not done:
        (folder.path / "finished.json").unlink()
    values = json.loads((folder.path / "spec.json").read_text())
    values["training"]["learning_rate"] = 0.5
    (folder.path / "spec.json").write_text(json.dumps(values))
    before = fingerprint(folder.path)
    code, _, error = saltus("run", write_study(tmp_path, tiny), "--out", tmp_path)
    assert code == 2
    assert error.startswith(f"error: {folder.path / 'spec.json'} was edited: the hash of its content is ")
    assert error.count("\n") == 1
    assert fingerprint(folder.path).keys() - before.keys() <= {".lock"}
    after = fingerprint(folder.path)
    assert {name: after[name] for name in before if name != ".lock"} == {
        name: value for name, value in before.items() if name != ".lock"
    }


# --- a finished run ----------------------------------------------------------------------------------------------


def write_study(where: Path, spec: RunSpec) -> Path:
    path = where / "study.py"
    run = f"RunSpec(**{spec.model_dump()!r})"
    path.write_text(f"from saltus import Cell, RunSpec, Study\n\nstudy = Study(cells=[Cell(run={run})])\n")
    return path


def test_finished_run_is_never_written_again(
    finished: RunFolder, tiny: RunSpec, facts: TaskFacts, tmp_path: Path, saltus: Saltus
) -> None:
    folder = RunFolder(tmp_path / tiny.run_id)
    shutil.copytree(finished.path, folder.path)
    before = fingerprint(folder.path)
    assert "finished.json" in before
    code, out, error = saltus("run", write_study(tmp_path, tiny), "--out", tmp_path)
    assert (code, error) == (0, "")
    assert f"{folder.path} is finished already" in out
    assert fingerprint(folder.path) == before


def test_run_that_another_process_finished_meanwhile_is_left_alone(
    folder: RunFolder, tiny: RunSpec, facts: TaskFacts
) -> None:
    with folder.training(tiny, facts):
        commit(folder, 0)
        folder.finish({"last_step": 0})
    with pytest.raises(SaltusError, match="just been finished"), folder.training(tiny, facts):
        pass


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("damage", [cut_short, remove])
@pytest.mark.parametrize("name", ["spec.json", "task.safetensors", "finished.json"])
def test_what_can_be_written_anew_beside_whole_records_is(
    finished: RunFolder,
    tiny: RunSpec,
    tmp_path: Path,
    saltus: Saltus,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    folder = RunFolder(tmp_path / tiny.run_id)
    shutil.copytree(finished.path, folder.path)
    before = fingerprint(folder.path)
    path = folder.path / name
    damage(path)
    if damage is cut_short:
        with pytest.raises(SaltusError, match=re.escape(f"{path} cannot be read")) as caught:
            folder.records()
        assert "delete it and give the command that made the folder again" in str(caught.value)
        code, out, error = saltus("ls", "--out", tmp_path)
        assert (code, error) == (0, "")
        assert folder.path.name[:20] in out
        path.unlink()
    code, out, error = saltus("run", write_study(tmp_path, tiny), "--out", tmp_path)
    assert (code, error) == (0, "")
    after = fingerprint(folder.path)
    kept = [file for file in before if file not in (name, ".lock")]
    assert {file: after[file] for file in kept} == {file: before[file] for file in kept}
    assert_array_equal(folder.records().cube("units", "loss"), finished.records().cube("units", "loss"))


# --- a full disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one mebibyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root; test_full_disk_by_... cover the same code")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this machine does not let root mount a tmpfs; test_full_disk_by_... cover the same code")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk(small_disk: Path, tiny: RunSpec, facts: TaskFacts) -> None:
    """A real one: the first checkpoints fit, the next does not, and with space again it goes on."""
    folder = RunFolder(small_disk / tiny.run_id)
    size = 20_000  # 320 kB for a checkpoint of two seeds
    with folder.training(tiny, facts):
        commit(folder, 0, size=size)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        before = fingerprint(folder.path)
        with pytest.raises(SaltusError, match=r"cannot be written \(.*No space left on device.*free space"):
            commit(folder, 5, size=size)
        assert fingerprint(folder.path) == before
        assert partials(folder.path) == []
    ballast.unlink()
    with folder.training(tiny, facts):
        assert stand(folder) == 0
        commit(folder, 5, size=size)
        assert folder.checkpoint_steps() == [0, 5]


def test_full_disk_at_the_very_start(small_disk: Path, tiny: RunSpec, facts: TaskFacts) -> None:
    folder = RunFolder(small_disk / tiny.run_id)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - filling the disk, not what is tested
    with pytest.raises(SaltusError, match="No space left on device"), folder.training(tiny, facts):
        pass
    assert partials(small_disk) == []
    ballast.unlink()
    with folder.training(tiny, facts):
        assert folder.spec() == tiny


LIMITED = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from saltus.errors import SaltusError
    from saltus.train.records import SnapshotRows
    from saltus.train.folder import RunFolder

    folder = RunFolder(Path(sys.argv[1]))
    state = {"w": np.zeros(100_000, np.float32), "exp_avg": np.zeros(3, np.float32)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        folder.commit(5, {0: state}, {}, SnapshotRows.none())
    except SaltusError as error:
        sys.exit(str(error))
"""


def test_full_disk_by_a_limit_on_the_size_of_files(folder: RunFolder, tiny: RunSpec, facts: TaskFacts) -> None:
    """The system refuses in the middle of a write, as a quota does."""
    with folder.training(tiny, facts):
        commit(folder, 0)
    before = fingerprint(folder.path)
    command = [sys.executable, "-c", dedent(LIMITED), str(folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{folder.path} cannot be written (")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert fingerprint(folder.path) == before
    assert partials(folder.path) == []


@pytest.mark.parametrize(
    ("module", "function", "error"),
    [
        (os, "fsync", OSError(errno.ENOSPC, "No space left on device")),
        (storage, "save_file", SafetensorError("Error while serializing: I/O error: No space left (os error 28)")),
        (
            storage.pq,
            "write_table",
            OSError(errno.ENOSPC, "Error writing bytes to file. Detail: No space left on device"),
        ),
        (Path, "write_text", OSError(errno.ENOSPC, "No space left on device")),
        (Path, "replace", OSError(errno.EDQUOT, "No space left: quota exceeded")),
    ],
    ids=["fsync", "save_file", "write_table", "write_text", "replace"],
)
@pytest.mark.parametrize("moment", ["commit", "finish"])
def test_full_disk_by_failing_calls(
    folder: RunFolder,
    tiny: RunSpec,
    facts: TaskFacts,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    function: str,
    error: Exception,
    moment: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    with folder.training(tiny, facts):
        commit(folder, 0, 5)
        before = fingerprint(folder.path)
        with monkeypatch.context() as patch:
            patch.setattr(module, function, fail)
            with pytest.raises(SaltusError, match=r"cannot be written \(.*No space left.*run the same command again"):
                commit(folder, 10) if moment == "commit" else folder.finish({})
        assert fingerprint(folder.path) == before
        assert partials(folder.path) == []
        assert not folder.finished
        commit(folder, 10)
        folder.finish({})
    assert_array_equal(folder.records().evaluated_steps, [0, 5, 10])


@pytest.mark.usefixtures("in_this_process")
def test_run_that_met_a_full_disk_resumes(
    finished: RunFolder, tiny: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saltus: Saltus
) -> None:
    folder = RunFolder(tmp_path / tiny.run_id)
    study = write_study(tmp_path, tiny)
    fsync = os.fsync

    def fail_late(descriptor: int) -> None:
        if (folder.path / "checkpoints" / "00000020").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_late)
        code, _, error = saltus("run", study, "--out", tmp_path)
    assert code == 2
    assert error.startswith("error: ")
    assert "No space left on device" in error
    assert error.count("\n") == 1
    assert partials(tmp_path) == []
    assert folder.checkpoint_steps()[-1] == 20
    code, out, error = saltus("run", study, "--out", tmp_path)
    assert (code, error) == (0, "")
    assert "tiny: resumed at step 20" in out
    resumed, unbroken = folder.records(), finished.records()
    for name, table in unbroken.tables.items():
        for one, other in zip(resumed.tables[name].columns, table.columns, strict=True):
            assert_array_equal(one.to_numpy(), other.to_numpy())
    assert_array_equal(resumed.snapshots.attention, unbroken.snapshots.attention)
