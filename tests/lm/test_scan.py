"""A scan says what each checkpoint says, loses nothing when it is ended, and notices what was damaged."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from rich.console import Console
from tests.lm.tiny_suite import (
    WORDS,
    MemorySuite,
    Silence,
    damage,
    make_model,
    make_word_tokenizer,
    save_checkpoint,
    teach,
)

from saltus import seeding
from saltus.errors import SaltusError
from saltus.lm import scan as scan_module
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.load import load_model
from saltus.lm.probe import probe
from saltus.lm.records import SCAN_TABLES
from saltus.lm.scan import list_solved, scan
from saltus.lm.scan_folder import ScanFolder, list_scans
from saltus.lm.specs import CopyingSpec, PromptFileSpec, RepetitionSpec, ScanSpec
from saltus.lm.suites.base import Run
from saltus.measure.scans import Unit, find_scan_emergences
from saltus.report.scan_live import ScanView

CPU = torch.device("cpu")
COPYING, REPETITION = CopyingSpec(prompts=4), RepetitionSpec(prompts=3, tokens=5)
FIRST, SECOND = Run("1m", "0"), Run("1m", "1")
KNOWN = cache(load_model)
STEPS = [0, 1, 2, 4, 8, 10, 20, 30, 40]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint is loaded once and not once for each scan."""
    monkeypatch.setattr(scan_module, "load_model", KNOWN)


def describe(strategy: Literal["grid", "bisect", "robust"] = "grid") -> ScanSpec:
    return ScanSpec(suite="folder:memory", capabilities=(COPYING, REPETITION), strategy=strategy, coarse=3)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints that know nothing, only how to copy, and both; and some that are no good."""
    torch.set_num_threads(1)
    root, tokenizer = tmp_path_factory.mktemp("checkpoints"), make_word_tokenizer()
    copying, repetition = (make_prompts(spec, tokenizer, 0) for spec in (COPYING, REPETITION))
    half, full, broken = make_model(1), make_model(2), make_model(3)
    teach(half, copying)
    teach(full, [*copying, *repetition])
    with torch.no_grad():
        broken.get_output_embeddings().weight[3] = torch.nan
    there = {
        name: save_checkpoint(root / name, model, tokenizer)
        for name, model in (("nothing", make_model()), ("half", half), ("full", full), ("not finite", broken))
    }
    other = make_word_tokenizer(WORDS[::-1])
    there["other tokenizer"] = save_checkpoint(root / "other", full, other)
    there["truncated"] = damage(there["full"], root / "truncated")
    return there


def make_suite(states: Mapping[str, Path], **changed: str | None) -> MemorySuite:
    """Copying from 4 on and repetition from 30 on in the first run, from 8 and 20 on in the second.

    `changed` names other states of the first run, by step, such as s8='truncated'.
    """
    named = {
        FIRST: {s: "nothing" if s < 4 else "half" if s < 30 else "full" for s in STEPS},
        SECOND: {s: "nothing" if s < 8 else "half" if s < 20 else "full" for s in STEPS},
    }
    folders = {run: {step: states[name] for step, name in steps.items()} for run, steps in named.items()}
    changes = {int(step[1:]): None if name is None else states[name] for step, name in changed.items()}
    return MemorySuite({FIRST: {**folders[FIRST], **changes}, SECOND: folders[SECOND]})


def run_scan(
    spec: ScanSpec,
    suite: MemorySuite,
    folder: ScanFolder,
    listener: Silence | ScanView | None = None,
    unusable: Mapping[Run, Mapping[int, str]] | None = None,
) -> ScanFolder:
    with folder.writing(spec):
        scan(spec, suite, folder, listener or Silence(), CPU, unusable)
        folder.finish({"answer": 42})
    return folder


def read_tables(folder: ScanFolder) -> dict[str, list[dict[str, Any]]]:
    """All rows, with NaN as text, so that rows compare."""
    records = folder.records()
    tables: dict[str, list[dict[str, Any]]] = {name: getattr(records, name).to_pylist() for name in SCAN_TABLES}
    return {
        name: [{key: "NaN" if value != value else value for key, value in row.items()} for row in rows]
        for name, rows in tables.items()
    }


@pytest.fixture(scope="module", params=["grid", "bisect", "robust"])
def unbroken(
    request: pytest.FixtureRequest, states: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> ScanFolder:
    """A scan that nothing happened to, with one checkpoint that is not there and one that is damaged."""
    folder = ScanFolder(tmp_path_factory.mktemp(request.param) / "scan")
    return run_scan(describe(request.param), make_suite(states, s2=None, s20="truncated"), folder)


# --- what is recorded --------------------------------------------------------------------------------------------


def test_grid_records_what_every_checkpoint_says(states: dict[str, Path], tmp_path: Path) -> None:
    spec, suite = describe(), make_suite(states)
    records = run_scan(spec, suite, ScanFolder(tmp_path / "scan")).records()
    assert suite.fetched == [(run, step) for run in (FIRST, SECOND) for step in STEPS]
    prompts = {item.kind: make_prompts(item, make_word_tokenizer(), 0) for item in (COPYING, REPETITION)}
    every = [(name, number, prompt) for name, several in prompts.items() for number, prompt in enumerate(several)]
    assert records.prompts.to_pylist() == [
        {"capability": name, "prompt": number, "text": prompt.text, "target": prompt.target_text}
        for name, number, prompt in every
    ]
    assert records.runs.to_pylist() == [{"size": "1m", "seed": seed, "steps": STEPS} for seed in "01"]
    assert records.missing.to_pylist() == []
    rows = iter(records.probes.to_pylist())
    for run in (FIRST, SECOND):
        for step in STEPS:
            path = suite.folders[run][step]
            assert path is not None
            said = probe(load_model(path, "float32", CPU), [prompt for _, _, prompt in every], 256)
            for place, (name, number, _) in enumerate(every):
                row = next(rows)
                assert (row["size"], row["seed"], row["step"]) == (run.size, run.seed, step)
                assert (row["capability"], row["prompt"]) == (name, number)
                for key, values in vars(said).items():
                    assert_allclose(row[key], values[place], rtol=1e-6, err_msg=key)
    assert list(rows) == []


INTERVALS = {
    ("0", Unit("copying")): (2, 4),
    ("0", Unit("repetition")): (20, 30),
    ("1", Unit("copying")): (4, 8),
    ("1", Unit("repetition")): (10, 20),
}


@pytest.mark.parametrize("strategy", ["grid", "bisect", "robust"])
def test_strategies_find_the_same_intervals(
    strategy: Literal["grid", "bisect", "robust"], states: dict[str, Path], tmp_path: Path
) -> None:
    suite = make_suite(states)
    folder = run_scan(describe(strategy), suite, ScanFolder(tmp_path / "scan"))
    found = {(e.seed, e.unit): (e.emergence.after, e.emergence.by) for e in find_scan_emergences(folder.records())}
    assert {key: found[key] for key in INTERVALS} == INTERVALS
    asked = [{step for run, step in suite.fetched if run == which} for which in (FIRST, SECOND)]
    assert len(suite.fetched) == sum(map(len, asked))
    if strategy == "bisect":  # not the checkpoints far from every jump
        assert [len(steps) for steps in asked] == [7, 7]


def test_precision_of_the_spec(states: dict[str, Path], tmp_path: Path) -> None:
    suite = MemorySuite({FIRST: {0: states["half"]}})
    spec = ScanSpec.model_validate(describe().model_dump() | {"precision": "bfloat16"})
    table = run_scan(spec, suite, ScanFolder(tmp_path / "scan")).records().probes
    prompts = [p for item in (COPYING, REPETITION) for p in make_prompts(item, make_word_tokenizer(), 0)]
    said = [probe(load_model(states["half"], kind, CPU), prompts, 256) for kind in ("bfloat16", "float32")]
    assert_array_equal(table["logit"].to_numpy(), said[0].logit)
    assert (said[0].logit != said[1].logit).any()


def test_master_seed_draws_other_prompts(states: dict[str, Path], tmp_path: Path) -> None:
    suite, texts = MemorySuite({FIRST: {0: states["half"]}}), list[list[str]]()
    for seed in (0, 1):
        spec = ScanSpec.model_validate(describe().model_dump() | {"master_seed": seed})
        folder = run_scan(spec, suite, ScanFolder(tmp_path / spec.identify("scan")))
        texts.append(folder.records().prompts["text"].to_pylist())
    assert texts[0][0] == texts[1][0]  # the paper's prompt
    assert not {*texts[0][1:]} & {*texts[1][1:]}
    assert [folder.path for folder in list_scans(tmp_path)] == sorted(tmp_path.glob("scan-*"))


def test_a_set_is_solved_from_the_threshold_on() -> None:
    capability, correct = ["a"] * 4 + ["b"] * 2, np.array([True, True, False, True, False, True])
    assert list_solved(capability, correct, 0.75).tolist() == [*correct.tolist(), True, False]
    assert list_solved(capability, correct, 0.76).tolist() == [*correct.tolist(), False, False]
    assert list_solved(capability, correct, 0.5).tolist() == [*correct.tolist(), True, True]


# --- what is missing ---------------------------------------------------------------------------------------------


def test_missing_and_damaged_checkpoints_are_recorded_and_passed_over(states: dict[str, Path], tmp_path: Path) -> None:
    suite = make_suite(states, s2=None, s10="truncated", s20="not finite")
    records = run_scan(describe("bisect"), suite, ScanFolder(tmp_path / "scan")).records()
    reasons = {row["step"]: (row["seed"], row["reason"]) for row in records.missing.to_pylist()}
    assert {*reasons} <= {2, 10, 20}
    assert reasons[2] == ("0", "1m seed 0 has no step 2")
    assert "not finite" in reasons[20][1]
    assert not {2, 10, 20} & {row["step"] for row in records.probes.to_pylist() if row["seed"] == "0"}
    found = {(e.seed, e.unit): e for e in find_scan_emergences(records)}
    copying, repetition = found["0", Unit("copying")], found["0", Unit("repetition")]
    assert (copying.emergence.after, copying.emergence.by, copying.missing) == (1, 4, (2,))
    assert (repetition.emergence.after, repetition.emergence.by) in ((8, 30), (10, 30))
    assert repetition.missing == (10, 20)
    assert found["1", Unit("copying")].missing == ()


def test_unusable_steps_are_never_fetched(states: dict[str, Path], tmp_path: Path) -> None:
    suite, folder = make_suite(states), ScanFolder(tmp_path / "scan")
    records = run_scan(describe(), suite, folder, unusable={FIRST: {4: "it is a copy of step 2"}}).records()
    assert (FIRST, 4) not in suite.fetched
    assert (SECOND, 4) in suite.fetched
    assert records.missing.to_pylist() == [{"size": "1m", "seed": "0", "step": 4, "reason": "it is a copy of step 2"}]


def test_steps_found_unusable_after_they_were_measured_are_not_kept_in_silence(
    states: dict[str, Path], tmp_path: Path
) -> None:
    folder, spec = ScanFolder(tmp_path / "scan"), describe()
    with folder.writing(spec):
        scan(spec, make_suite(states), folder, Silence(), CPU)
        with pytest.raises(SaltusError, match=r"holds 1m seed 0 at step 4, which is not to be used \(a copy\); delete"):
            scan(spec, make_suite(states), folder, Silence(), CPU, {FIRST: {4: "a copy"}})


def test_no_network_ends_the_scan_until_there_is(states: dict[str, Path], tmp_path: Path) -> None:
    suite, folder = make_suite(states), ScanFolder(tmp_path / "scan")
    suite.offline = True
    with pytest.raises(SaltusError, match="there is no network"):
        run_scan(describe(), suite, folder)
    assert not folder.finished
    suite.offline = False
    assert read_tables(run_scan(describe(), suite, folder))["missing"] == []


def test_suite_without_a_usable_checkpoint(states: dict[str, Path], tmp_path: Path) -> None:
    suite, folder = MemorySuite({FIRST: {0: None, 1: states["truncated"]}}), ScanFolder(tmp_path / "scan")
    with pytest.raises(
        SaltusError, match=r"has no measured checkpoint; scan for longer, or a suite that has usable ones"
    ):
        run_scan(describe(), suite, folder)
    assert not folder.finished


# --- prompts and names -------------------------------------------------------------------------------------------


def test_runs_with_different_tokenizers_are_refused(states: dict[str, Path], tmp_path: Path) -> None:
    """The words are the same and so are the copying prompts as text; the tokens are not."""
    suite = MemorySuite({FIRST: {0: states["full"]}, SECOND: {0: states["other tokenizer"]}})
    spec = ScanSpec(suite="folder:memory", capabilities=(COPYING,))
    folder = ScanFolder(tmp_path / "scan")
    with pytest.raises(
        SaltusError, match=r"the tokenizer of 1m seed 1 makes other prompts than those that .* began with"
    ):
        run_scan(spec, suite, folder)
    with pytest.raises(SaltusError, match="the tokenizer of 1m seed 1 makes other prompts"):  # also after a restart
        run_scan(spec, suite, folder)


def test_capabilities_of_one_name(states: dict[str, Path], tmp_path: Path) -> None:
    files = tuple(PromptFileSpec(path=f"{folder}/mine.jsonl", sha256="0") for folder in "ab")
    spec = ScanSpec(suite="folder:memory", capabilities=files)
    with pytest.raises(SaltusError, match=r"are named mine\.jsonl, mine\.jsonl; names must differ, so rename a file"):
        run_scan(spec, make_suite(states), ScanFolder(tmp_path / "scan"))


def test_prompts_of_kinds_come_from_streams_of_their_own() -> None:
    drawn = [make_prompts(item, make_word_tokenizer(), 5) for item in (COPYING, REPETITION)]
    generator = seeding.Streams(5).generator("prompts", 0)
    strings = generator.integers(0, 10, size=(4, 8))
    assert drawn[0][1].tokens[:8] == tuple(strings[1])
    generator = seeding.Streams(5).generator("prompts", 1)
    assert drawn[1][0].tokens[:5] == tuple(generator.choice(np.arange(32), 5, replace=False))


# --- interruptions -----------------------------------------------------------------------------------------------


class Interruption(Exception):  # noqa: N818 - it is no error
    pass


class Interrupter(Silence):
    """Ends the scan at its n-th event."""

    def __init__(self, moment: int) -> None:
        self._left = moment

    def _count(self) -> None:
        self._left -= 1
        if not self._left:
            raise Interruption

    def fetching(self, run: Run, step: int) -> None:
        self._count()

    def loading(self, run: Run, step: int) -> None:
        self._count()

    def measuring(self, run: Run, step: int) -> None:
        self._count()

    def measured(self, run: Run, step: int, solved: NDArray[np.bool_]) -> None:
        self._count()

    def missing(self, run: Run, step: int, reason: str) -> None:
        self._count()

    def finished_run(self, run: Run) -> None:
        self._count()


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
from saltus.lm.scan import scan
from saltus.lm.scan_folder import ScanFolder
from saltus.lm.specs import ScanSpec
from saltus.lm.suites.base import Run
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
    writes = [1, 2, 1, 5, 3, parts - 3]  # the last comes to the second table of the records
    setting = {"spec": spec.model_dump(mode="json"), "folder": str(folder.path), "runs": runs, "writes": writes}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(setting)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
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
        "run the same command again: it resumes from the last checkpoint"
    }
    monkeypatch.setattr(pq, "write_table", write)
    assert read_tables(folder) == read_tables(run_scan(spec, suite, ScanFolder(tmp_path / "other")))


def test_suite_that_grows_does_not_change_a_scan_that_has_begun(states: dict[str, Path], tmp_path: Path) -> None:
    spec, suite, folder = describe(), make_suite(states), ScanFolder(tmp_path / "scan")
    with pytest.raises(Interruption):
        run_scan(spec, suite, folder, Interrupter(20))
    larger = {run: {**steps, 50: states["nothing"]} for run, steps in suite.folders.items()}
    tables = read_tables(run_scan(spec, MemorySuite(larger), folder))
    assert tables == read_tables(run_scan(spec, suite, ScanFolder(tmp_path / "other")))


# --- the folder --------------------------------------------------------------------------------------------------


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
        with pytest.raises(SaltusError, match=rf"^{path} {message}.*; delete it and run the same command again"):
            use()
    path.unlink()
    tables = read_tables(run_scan(spec, suite, folder))
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


def test_damaged_records_are_gathered_again(states: dict[str, Path], tmp_path: Path) -> None:
    folder = run_scan(describe(), MemorySuite({FIRST: {2: states["half"]}}), ScanFolder(tmp_path / "scan"))
    expected, path = read_tables(folder), folder.path / "records" / "probes.parquet"
    path.write_bytes(flip(path.read_bytes()))
    with pytest.raises(SaltusError, match=rf"{path} differs from what was written; delete {path.parent}: the records"):
        folder.records()
    path.unlink()
    with pytest.raises(SaltusError, match=rf"{path} differs"):
        folder.records()
    for other in path.parent.iterdir():
        other.unlink()
    path.parent.rmdir()
    assert folder.records().finished
    assert read_tables(folder) == expected


def test_finished_scan_is_never_written_to(states: dict[str, Path], tmp_path: Path) -> None:
    suite = MemorySuite({FIRST: {2: states["half"]}})
    folder = run_scan(describe(), suite, ScanFolder(tmp_path / "scan"))
    assert folder.summary() == {"answer": 42}
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.path.rglob("*.*") if path.is_file()}
    with pytest.raises(SaltusError, match="is finished already; delete it to scan again"):
        run_scan(describe(), suite, folder)
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.path.rglob("*.*") if path.is_file()}
    del before[folder.path / ".lock"], after[folder.path / ".lock"]
    assert after == before


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
        pytest.raises(SaltusError, match="is being written by another process"),
        folder.writing(describe()),
    ):
        pass
    with pytest.raises(SaltusError, match=r"does not describe the scan scan-.* that was asked for"):
        run_scan(describe("bisect"), MemorySuite({}), folder)
    with pytest.raises(SaltusError, match="has no measured checkpoint"):
        folder.records()
    (folder.path / "spec.json").write_text('{"suite": 3}')
    with pytest.raises(SaltusError, match=r"spec\.json describes no scan .*; delete it and run the same command again"):
        folder.spec()


# --- what a person sees ------------------------------------------------------------------------------------------


def test_view_says_what_happens_and_keeps_the_time(
    states: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading takes 5 s by this clock, measuring 7, every fetch 2, and nothing else any time."""
    now = [100.0]
    suite = MemorySuite({FIRST: {0: states["nothing"], 1: None, 2: states["half"]}})
    view = ScanView("scan-x", Console(file=(out := io.StringIO()), width=200), lambda: now[0])

    def taking(seconds: float, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            now[0] += seconds
            return call(*arguments)

        return wrapped

    class Fetcher:
        def __init__(self, _: MemorySuite) -> None: ...

        def __enter__(self) -> "Fetcher":
            return self

        def __exit__(self, *_: object) -> None: ...

        def get(self, run: Run, step: int, then: tuple[Run, int] | None = None) -> Path:
            hints.append(then)
            now[0] += 2
            return suite.fetch(run, step)

    hints: list[tuple[Run, int] | None] = []
    monkeypatch.setattr(scan_module, "Prefetcher", Fetcher)
    monkeypatch.setattr(scan_module, "load_model", taking(5, KNOWN))
    monkeypatch.setattr(scan_module, "probe", taking(7, probe))
    with view:
        run_scan(describe(), suite, ScanFolder(tmp_path / "scan"), view)
    assert hints == [(FIRST, 1), (FIRST, 2), None]
    assert view.account() == {
        "checkpoints_loaded": 2,
        "checkpoints_missing": 1,
        "seconds": {"fetch": 6.0, "load": 10.0, "measure": 14.0, "other": 0.0},
    }
    lines = out.getvalue().splitlines()
    assert lines[0] == "scan-x: scanning 1 runs"
    assert lines[1].startswith("scan-x: 1m seed 0 step 0: ")
    assert lines[2] == "scan-x: 1m seed 0 step 1 is left out: 1m seed 0 has no step 1"
    assert lines[3].endswith("of 9 units solved")
    assert lines[4] == (
        "scan-x: 1m seed 0 is done; 2 checkpoints measured so far (fetch 6 s, load 10 s, measure 14 s, other 0 s)"
    )


def test_view_on_a_terminal(states: dict[str, Path], tmp_path: Path) -> None:
    suite = MemorySuite({FIRST: {0: states["half"], 2: None}})
    console = Console(file=(out := io.StringIO()), force_terminal=True, width=120)
    folder = ScanFolder(tmp_path / "scan")
    with pytest.raises(Interruption):
        run_scan(describe(), suite, folder, Interrupter(6))  # when it has found the second to be missing
    with ScanView("scan-x", console) as view:
        run_scan(describe(), suite, folder, view)
    assert "1m seed 0 resumed after 1 checkpoints" in out.getvalue()
    assert "1m seed 0 step 2 is left out: 1m seed 0 has no step 2" in out.getvalue()
    assert "1/1" in out.getvalue()


def test_prompts_hold_what_a_prompt_is() -> None:
    """`Prompt` is what is compared between tokenizers; a new field must go into the hash as well."""
    assert list(Prompt.__dataclass_fields__) == ["text", "tokens", "target", "target_text", "foil"]
