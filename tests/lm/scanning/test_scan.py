"""A scan says what each checkpoint says, and passes over what is missing."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rich.console import Console
from tests.lm.tiny_scans import (
    COPYING,
    CPU,
    FIRST,
    REPETITION,
    SECOND,
    STEPS,
    Interrupter,
    Interruption,
    LoadOnce,
    describe,
    make_suite,
    read_tables,
    run_scan,
    save_states,
)
from tests.lm.tiny_suite import (
    MemorySuite,
    Silence,
    make_word_tokenizer,
)

from saltus import seeding
from saltus.curves import Key
from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.scanning import scan as scan_module
from saltus.lm.scanning.criteria import list_solved
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.scanning.probe import probe
from saltus.lm.scanning.records import ScanRecords
from saltus.lm.scanning.scan import scan
from saltus.lm.suites.base import Run
from saltus.lm.suites.load import load_model
from saltus.report.terminal.scan import ScanView
from saltus.specs.capabilities import PromptFileSpec
from saltus.specs.checkpoints import ScanSpec


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_states(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint is loaded once and not once for each scan."""
    monkeypatch.setattr(scan_module, "ModelLoader", LoadOnce)


# --- what is recorded --------------------------------------------------------------------------------------------


def test_grid_records_what_every_checkpoint_says(states: dict[str, Path], tmp_path: Path) -> None:
    spec, suite = describe(), make_suite(states)
    records = run_scan(spec, suite, ScanFolder(tmp_path / "scan")).records()
    assert suite.fetched == [(run, step) for run in (FIRST, SECOND) for step in STEPS]
    prompts = {item.kind: make_prompts(item, make_word_tokenizer(), 0) for item in (COPYING, REPETITION)}
    every = [(name, number, prompt) for name, several in prompts.items() for number, prompt in enumerate(several)]
    assert records.prompts.to_pylist() == [
        {
            "capability": name,
            "prompt": number,
            "text": prompt.text,
            "target": prompt.target_text,
            "id": None,
            "category": None,
        }
        for name, number, prompt in every
    ]
    assert records.runs.to_pylist() == [
        {"size": "1m", "seed": seed, "steps": STEPS, "tokens": [None] * len(STEPS)} for seed in "01"
    ]
    assert records.missing.to_pylist() == []
    rows = iter(records.probes.to_pylist())
    for run in (FIRST, SECOND):
        for step in STEPS:
            path = suite.folders[run][step]
            assert path is not None
            said = probe(load_model(path, "float32", CPU).model, [prompt for _, _, prompt in every], 256)
            for place, (name, number, _) in enumerate(every):
                row = next(rows)
                assert (row["size"], row["seed"], row["step"]) == (run.size, run.seed, step)
                assert (row["capability"], row["prompt"]) == (name, number)
                for key, values in vars(said).items():
                    assert_allclose(row[key], values[place], rtol=1e-6, err_msg=key)
    assert list(rows) == []


INTERVALS = {
    Key("1m", "0", "copying"): (2, 4),
    Key("1m", "0", "repetition"): (20, 30),
    Key("1m", "1", "copying"): (4, 8),
    Key("1m", "1", "repetition"): (10, 20),
}


@pytest.mark.parametrize("strategy", ["grid", "bisect", "robust"])
def test_strategies_find_the_same_intervals(
    strategy: Literal["grid", "bisect", "robust"], states: dict[str, Path], tmp_path: Path
) -> None:
    suite = make_suite(states)
    folder = run_scan(describe(strategy), suite, ScanFolder(tmp_path / "scan"))
    found = {e.key: (e.after, e.by) for e in folder.records().curves.emergences()}
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
    said = [probe(load_model(states["half"], kind, CPU).model, prompts, 256) for kind in ("bfloat16", "float32")]
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
    assert [folder.path for folder in ScanFolder.list(tmp_path)] == sorted(tmp_path.glob("scan-*"))


def test_a_set_is_solved_from_the_threshold_on() -> None:
    names, correct = ["copying"] * 4 + ["repetition"] * 2, np.array([True, True, False, True, False, True])
    for threshold, sets in ((0.75, [True, False]), (0.76, [False, False]), (0.5, [True, True])):
        spec = ScanSpec(suite="x", capabilities=(COPYING, REPETITION), threshold=threshold)
        assert list_solved(spec, names, {"correct": correct}).tolist() == [*correct.tolist(), *sets]


def list_missing(records: ScanRecords) -> list[tuple[str, int, str, str]]:
    """Seed, step, reason and kind."""
    return [(row["seed"], row["step"], row["reason"], row["kind"]) for row in records.missing.to_pylist()]


# --- what is missing ---------------------------------------------------------------------------------------------


def test_missing_and_damaged_checkpoints_are_recorded_and_passed_over(states: dict[str, Path], tmp_path: Path) -> None:
    suite = make_suite(states, s2=None, s10="truncated", s20="not finite")
    records = run_scan(describe("bisect"), suite, ScanFolder(tmp_path / "scan")).records()
    reasons = {row["step"]: (row["seed"], row["reason"]) for row in records.missing.to_pylist()}
    assert {*reasons} <= {2, 10, 20}
    assert reasons[2] == ("0", "1m seed 0 has no step 2")
    assert "not finite" in reasons[20][1]
    assert not {2, 10, 20} & {row["step"] for row in records.probes.to_pylist() if row["seed"] == "0"}
    found = {emergence.key[1:]: emergence for emergence in records.curves.emergences()}
    copying, repetition = found["0", "copying"], found["0", "repetition"]
    assert (copying.after, copying.by, copying.missing) == (1, 4, (2,))
    assert (repetition.after, repetition.by, repetition.missing) == (8, 30, (10, 20))
    assert found["1", "copying"].missing == ()


def test_unusable_steps_are_never_fetched(states: dict[str, Path], tmp_path: Path) -> None:
    suite, folder = make_suite(states), ScanFolder(tmp_path / "scan")
    records = run_scan(describe(), suite, folder, unusable={FIRST: {4: "it is a copy of step 2"}}).records()
    assert (FIRST, 4) not in suite.fetched
    assert (SECOND, 4) in suite.fetched
    assert list_missing(records) == [("0", 4, "it is a copy of step 2", "excluded")]


def test_steps_found_unusable_after_they_were_measured_are_used_no_more(
    states: dict[str, Path], tmp_path: Path
) -> None:
    """What was measured otherwise is kept, and nothing is fetched again."""
    suite, folder, spec = make_suite(states), ScanFolder(tmp_path / "scan"), describe()
    with folder.writing(spec):
        scan(spec, suite, folder, Silence(), CPU)
    before = read_tables(folder)["probes"]
    suite.fetched.clear()
    tables = read_tables(run_scan(spec, suite, folder, unusable={FIRST: {4: "a copy"}}))
    assert suite.fetched == []
    assert list_missing(folder.records()) == [("0", 4, "a copy", "excluded")]
    assert tables["probes"] == [row for row in before if (row["seed"], row["step"]) != ("0", 4)]
    with folder.writing(spec, again=True):
        folder.reopen()
        scan(spec, suite, folder, Silence(), CPU)  # nothing is said against it any more
        folder.finish({})
    assert suite.fetched == []
    assert read_tables(folder)["probes"] == before


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
        SaltusError, match=r"has no measured checkpoint: 1m seed 0 at step 0 could not be .*has no step 0\); mend that"
    ):
        run_scan(describe(), suite, folder)
    assert not folder.finished


# --- prompts and names -------------------------------------------------------------------------------------------


def test_a_run_with_another_tokenizer_is_left_out(states: dict[str, Path], tmp_path: Path) -> None:
    """The words are the same and so are the copying prompts as text; the tokens are not."""
    others = dict.fromkeys(range(5), states["other tokenizer"])
    suite = MemorySuite({FIRST: {0: states["full"]}, SECOND: others})
    spec = ScanSpec(suite="folder:memory", capabilities=(COPYING,), strategy="grid")
    records = run_scan(spec, suite, ScanFolder(tmp_path / "scan")).records()
    assert records.probes["seed"].unique().to_pylist() == ["0"]
    assert suite.fetched == [(FIRST, 0), *((SECOND, step) for step in (0, 1, 2))]  # one ahead, and no others
    reasons = [reason for _, _, reason, _ in list_missing(records)]
    assert all("the tokenizer of 1m seed 1 makes other prompts than those that" in reason for reason in reasons)


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

        def get(self, run: Run, step: int, following: tuple[Run, int] | None = None) -> Path:
            hints.append(following)
            now[0] += 2
            return suite.fetch(run, step)

    hints: list[tuple[Run, int] | None] = []
    monkeypatch.setattr(scan_module, "Prefetcher", Fetcher)
    monkeypatch.setattr(LoadOnce, "load", taking(5, LoadOnce.load))
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
    """`Prompt` is what is compared between tokenizers; a new field must go into the hash or the table as well.

    Bands follow from the length of the target.
    """
    fields = ["text", "tokens", "target", "target_text", "foils", "id", "category", "bands"]
    assert list(Prompt.__dataclass_fields__) == fields
