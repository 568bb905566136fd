"""What version 0.1 wrote is read: its scans, patches and audits, laid out here as it laid them out."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from saltus import api
from saltus.curves import Emergence, Key, Rule
from saltus.errors import SaltusError
from saltus.lm.audit.audit import faulty_steps
from saltus.lm.audit.folder import AuditFolder
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.suites.base import Run
from saltus.specs.capabilities import CopyingSpec
from saltus.specs.checkpoints import PatchSpec, ScanSpec
from saltus.storage.folder import AGAIN

QUIET = Console(quiet=True)
COPYING = {"kind": "copying", "prompts": 2, "digits": 8}
SCAN: dict[str, Any] = {
    "suite": "folder:suite",
    "sizes": [],
    "seeds": ["0"],
    "capabilities": [COPYING],
    "strategy": "grid",
    "coarse": 16,
    "threshold": 0.75,
    "precision": "float32",
    "master_seed": 0,
}
PATCH: dict[str, Any] = {
    "suite": "folder:suite",
    "size": "1m",
    "seed": "0",
    "recipient": 1,
    "donor": 2,
    "donor_seed": None,
    "capability": COPYING,
    "stage": "pattern",
    "queries": "all",
    "share": 0.8,
    "most_heads": 8,
    "rows": 256,
    "precision": "float32",
    "master_seed": 0,
}
SCAN_SPEC = ScanSpec(suite="folder:suite", seeds=("0",), capabilities=(CopyingSpec(prompts=2),), strategy="grid")
PATCH_SPEC = PatchSpec(suite="folder:suite", size="1m", recipient=1, donor=2, capability=CopyingSpec(prompts=2))

_CHECKPOINT = {"size": pa.string(), "seed": pa.string(), "step": pa.int32()}
_HEAD = {"layer": pa.int32(), "head": pa.int32()}
_SCHEMAS: dict[str, dict[str, pa.DataType]] = {
    "scan/probes": {
        **_CHECKPOINT,
        **{"capability": pa.string(), "prompt": pa.int32(), "probability": pa.float64(), "logit": pa.float64()},
        **{"rank": pa.int32(), "correct": pa.bool_(), "margin": pa.float64()},
    },
    "scan/missing": {**_CHECKPOINT, "reason": pa.string()},
    "scan/prompts": {"capability": pa.string(), "prompt": pa.int32(), "text": pa.string(), "target": pa.string()},
    "scan/runs": {"size": pa.string(), "seed": pa.string(), "steps": pa.list_(pa.int32())},
    "patch/prompts": {
        **{"prompt": pa.int32(), "text": pa.string(), "target": pa.string()},
        **{"recipient": pa.float64(), "donor": pa.float64()},
    },
    "patch/effects": {"kind": pa.string(), **_HEAD, "prompt": pa.int32(), "probability": pa.float64()},
    "patch/sets": {
        **{"kind": pa.string(), "draw": pa.int32(), "heads": pa.list_(pa.list_(pa.int32()))},
        **{"prompt": pa.int32(), "probability": pa.float64()},
    },
    "patch/screen": {**_HEAD, "prompt": pa.int32(), "effect": pa.float64()},
    "patch/trajectory": {"step": pa.int32(), "prompt": pa.int32(), "probability": pa.float64()},
    "patch/patterns": {
        **{"model": pa.string(), **_HEAD, "prompt": pa.int32()},
        **{"tokens": pa.list_(pa.string()), "pattern": pa.list_(pa.float32())},
    },
    "audit/findings": {
        **_CHECKPOINT,
        **{"other_size": pa.string(), "other_seed": pa.string(), "other_step": pa.int32(), "kind": pa.string()},
        **{"severity": pa.string(), "detail": pa.string(), "value": pa.float64()},
    },
    "audit/checkpoints": {
        **_CHECKPOINT,
        **{"sha256": pa.string(), "parameters": pa.int64(), "norm": pa.float64(), "distance": pa.float64()},
        "cosine": pa.float64(),
    },
}


def tabulate(name: str, *rows: tuple[Any, ...]) -> pa.Table:
    schema = pa.schema(list(_SCHEMAS[name].items()))
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def write_json(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")


def write_manifest(folder: Path) -> None:
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    write_json(folder / "manifest.json", hashes)


def name_folder(root: Path, kind: str, values: Mapping[str, Any]) -> Path:
    content = json.dumps(values, sort_keys=True)
    folder = root / f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"
    folder.mkdir(parents=True)
    return folder


def answer(step: int, *correct: bool) -> pa.Table:
    said = ((0.5, 1.0, 0 if right else 3, right, 0.25) for right in correct)
    return tabulate("scan/probes", *(("1m", "0", step, "copying", i, *each) for i, each in enumerate(said)))


ANSWERS = {0: answer(0, False, False), 2: answer(2, True, False), 3: answer(3, True, True)}
MISSING = tabulate("scan/missing", ("1m", "0", 1, "1m seed 0 has no step 1"))
PROMPTS = tabulate("scan/prompts", ("copying", 0, "0 7 0", " 7"), ("copying", 1, "1 2 1", " 2"))
RUNS = tabulate("scan/runs", ("1m", "0", [0, 1, 2, 3]))


def write_scan(root: Path, *, finished: bool = True) -> Path:
    """As `lm/scan_folder.py` of version 0.1."""

    def write(table: pa.Table, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)

    folder = name_folder(root, "scan", SCAN)
    (folder / ".lock").touch()
    write_json(folder / "scan.json", SCAN)
    prompts = PROMPTS.replace_schema_metadata({b"tokens_sha256": b"0" * 64})
    write(RUNS, folder / "runs.parquet")
    write(prompts, folder / "prompts.parquet")
    for step, table in ANSWERS.items():
        write(table, folder / "checkpoints" / "1m" / "0" / f"{step:08d}.parquet")
    write(MISSING, folder / "missing" / "1m" / "0" / "00000001.parquet")
    if finished:
        tables = {"probes": pa.concat_tables(ANSWERS.values()), "missing": MISSING, "prompts": prompts, "runs": RUNS}
        for name, table in tables.items():
            write(table, folder / "records" / f"{name}.parquet")
        write_manifest(folder / "records")
        write_json(folder / "finished.json", {"device": "cpu", "versions": {"saltus": "0.1.0"}})
    return folder


PATCH_TABLES = {
    "prompts": tabulate("patch/prompts", (0, "0 7 0", " 7", 0.1, 0.9)),
    "effects": tabulate("patch/effects", ("patch", 0, 0, 0, 0.7), ("self", 0, 0, 0, 0.1)),
    "sets": tabulate("patch/sets", ("greedy", 0, [[0, 0]], 0, 0.7), ("all", 0, [[0, 0]], 0, 0.9)),
    "screen": tabulate("patch/screen", (0, 0, 0, 0.5)),
    "trajectory": tabulate("patch/trajectory", (1, 0, 0.1), (2, 0, 0.9)),
    "patterns": tabulate("patch/patterns", ("donor", 0, 0, 0, ["0", " 7", " 0"], [1.0] + [0.0] * 8)),
}


def write_patch(root: Path) -> Path:
    """As `lm/patch_store.py` of version 0.1: everything beside the description, by one rename."""
    folder = name_folder(root, "patch", PATCH)
    write_json(folder / "patch.json", PATCH)
    for name, table in PATCH_TABLES.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    write_manifest(folder)
    return folder


FINDINGS = tabulate(
    "audit/findings",
    ("1m", "0", 2, "1m", "0", 3, "identical", "fault", "the weights are those of 1m seed 0 step 3", None),
    ("1m", "0", 3, "1m", "0", 2, "identical", "fault", "the weights are those of 1m seed 0 step 2", None),
)
CHECKPOINTS = tabulate("audit/checkpoints", *(("1m", "0", step, "abc", 8, 2.0, None, 1.0) for step in (2, 3)))


def write_audit(root: Path) -> Path:
    """As `lm/audit.py` of version 0.1: tables and fingerprints in the folder itself, the name of the suite as text."""
    digits = hashlib.sha256(b"folder:suite").hexdigest()[:10]
    folder = root / f"audit-folder-suite-{digits}"
    (folder / "1m" / "0").mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "suite.txt").write_text("folder:suite")
    facts = {"sha256": "abc", "config": {"hidden_size": 8}, "parameters": 8, "norm": 2.0, "not_finite": 0}
    sketch = np.zeros(4096, np.float32)
    for step in (2, 3):
        path = folder / "1m" / "0" / f"{step}.safetensors"
        save_file({"sketch": sketch}, path, metadata={"fingerprint": json.dumps(facts)})
    pq.write_table(CHECKPOINTS, folder / "checkpoints.parquet")
    pq.write_table(FINDINGS, folder / "findings.parquet")
    return folder


def read_folder(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def assert_equal_but_for_later_columns(read: pa.Table, written: pa.Table) -> None:
    """What version 0.1 wrote is as it was; of what it did not record nothing is known."""
    assert read.select(written.column_names).equals(written)
    later = read.drop_columns(written.column_names)
    assert all(column.null_count == len(read) for column in later.columns)


@pytest.fixture
def known() -> Callable[[Path], None]:
    """Checks that a folder is listed, found by its name, and described as finished."""

    def check(path: Path) -> None:
        [folder] = api.ls(path.parent)
        assert folder.path == path
        assert api.find(path.name, path.parent).path == path
        described = api.describe(folder)
        assert (described.state, described.readable) == ("finished", True)
        api.show(folder, QUIET)

    return check


# --- scans -------------------------------------------------------------------------------------------------------


def test_a_finished_scan_is_read_as_it_is(tmp_path: Path, known: Callable[[Path], None]) -> None:
    path = write_scan(tmp_path)
    before = read_folder(path)
    known(path)
    folder = ScanFolder.find(tmp_path, SCAN_SPEC, "scan")
    assert (folder.path, folder.finished, folder.spec()) == (path, True, SCAN_SPEC)
    records = folder.records()
    assert records.summary == {"device": "cpu", "versions": {"saltus": "0.1.0"}}
    found = list(records.reread(Rule(above=0.75)).curves.emergences())
    assert found == [
        Emergence(0, 2, missing=(1,), key=Key("1m", "0", "copying, prompt 0")),
        Emergence(2, 3, key=Key("1m", "0", "copying, prompt 1")),
        Emergence(2, 3, key=Key("1m", "0", "copying")),
    ]
    assert read_folder(path) == before


def test_an_unfinished_scan_is_read_and_gone_on_with_where_it_is(tmp_path: Path) -> None:
    path = write_scan(tmp_path, finished=False)
    folder = ScanFolder.find(tmp_path, SCAN_SPEC, "scan")
    assert (folder.path, folder.finished) == (path, False)
    assert folder.records().probes.equals(pa.concat_tables(ANSWERS.values()))
    with folder.writing(SCAN_SPEC):
        assert folder.measured_steps(Run("1m", "0")) == [0, 2, 3]
        folder.finish({})
    records = folder.records()
    assert_equal_but_for_later_columns(records.prompts, PROMPTS)
    assert records.missing.select(MISSING.column_names).equals(MISSING)
    assert (len(records.checkpoints), records.missing["kind"].to_pylist()) == (0, [None])  # it was not recorded


# --- patches -----------------------------------------------------------------------------------------------------


def test_a_patch_is_read_as_it_is(tmp_path: Path, known: Callable[[Path], None]) -> None:
    path = write_patch(tmp_path)
    before = read_folder(path)
    known(path)
    folder = api.patch(PATCH_SPEC, out=tmp_path, console=QUIET)  # there is no suite: nothing is measured
    assert (folder.path, folder.spec(), folder.summary()) == (path, PATCH_SPEC, {})
    records = folder.records()
    for name, table in PATCH_TABLES.items():
        assert_equal_but_for_later_columns(getattr(records, name), table)
    assert read_folder(path) == before


def test_damage_to_a_patch_is_named_and_its_description_written_anew(tmp_path: Path) -> None:
    path = write_patch(tmp_path)
    folder = PatchFolder(path)
    for name in ("effects.parquet", "manifest.json"):
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[:-2])
        with pytest.raises(SaltusError, match=rf"^{path / name} .*; move {path} away {AGAIN}: the patch is measured"):
            folder.records()
        (path / name).write_bytes(content)
    (path / "patch.json").unlink()
    api.patch(PATCH_SPEC, out=tmp_path, console=QUIET)
    assert_equal_but_for_later_columns(folder.records().effects, PATCH_TABLES["effects"])


@pytest.mark.parametrize(("write", "name", "change"), [(write_scan, "scan", "coarse"), (write_patch, "patch", "share")])
def test_an_edited_description_is_said_to_be_so(
    tmp_path: Path, write: Callable[[Path], Path], name: str, change: str
) -> None:
    path = write(tmp_path) / f"{name}.json"
    write_json(path, {**json.loads(path.read_text()), change: 1 if change == "share" else 8})
    folder = api.find(path.parent.name, tmp_path)
    with pytest.raises(SaltusError, match=rf"^{path} was edited: the hash of its content is .*; delete it {AGAIN}"):
        folder.records()
    described = api.describe(folder)
    assert (described.readable, "was edited" in described.state) == (False, True)


# --- audits ------------------------------------------------------------------------------------------------------


def test_an_audit_is_read_and_done_again_in_its_folder(tmp_path: Path) -> None:
    path = write_audit(tmp_path)
    folder = AuditFolder.of(tmp_path, "folder:suite")
    assert (folder.path, folder.finished) == (path, True)
    records = folder.records()
    assert (records.suite, records.findings.equals(FINDINGS)) == ("folder:suite", True)
    assert records.checkpoints.select(CHECKPOINTS.column_names).equals(CHECKPOINTS)

    class Suite:
        """Of which nothing is at hand any more."""

        name = "folder:suite"

        def runs(self) -> list[Run]:
            return [Run("1m", "0")]

        def steps(self, run: Run) -> list[int]:
            return [2, 3]

        def fetch(self, run: Run, step: int) -> Path:
            raise AssertionError

    assert faulty_steps(records, Suite(), Run("1m", "0")).keys() == {2, 3}
    again = api.audit(Suite(), out=tmp_path, console=QUIET)
    assert again.path == path
    assert again.records().findings.select(["step", "kind"]).equals(FINDINGS.select(["step", "kind"]))
    assert folder.spec().suite == "folder:suite"
    shutil.rmtree(path / "records")  # what version 0.1 wrote is still there, and is no longer the answer
    with pytest.raises(SaltusError, match=rf"manifest\.json cannot be read .*; delete {path / 'records'} {AGAIN}"):
        folder.records()
