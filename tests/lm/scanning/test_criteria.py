"""When a prompt is right: each criterion against the numbers themselves, and what a scan makes of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tests.lm.scanning.test_records import make_records
from tests.lm.tiny_suite import make_model, make_word_tokenizer, save_checkpoint

from saltus import api
from saltus.api.statistics import read_emergences
from saltus.errors import SaltusError
from saltus.lm.scanning.criteria import judge_answers, list_solved
from saltus.lm.scanning.folder import ScanFolder
from saltus.specs.capabilities import CopyingSpec, IndirectObjectSpec, PromptFileSpec, RepetitionSpec
from saltus.specs.checkpoints import PatchSpec, ScanSpec
from saltus.specs.criteria import CriterionSpec, read_criterion

NAN = float("nan")
ANSWERS = {
    "correct": np.array([True, False, False, False]),
    "margin": np.array([0.0, 0.1, NAN, -2.0]),
    "probability": np.array([0.5, 0.4, np.exp(-2.0), 0.0]),
    "rank": np.array([0, 1, 9, 10]),
}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("top-1", [1, 0, 0, 0]),
        ("margin", [0, 1, 0, 0]),  # a tie with the foil is none, and without a foil there is none
        ("margin=-3", [1, 1, 0, 1]),
        ("probability", [1, 0, 0, 0]),
        ("probability=0.4", [1, 1, 0, 0]),
        ("rank", [1, 1, 1, 0]),
        ("rank=1", [1, 0, 0, 0]),
        ("loss=2.1", [1, 1, 1, 0]),
        ("loss=1.9", [1, 1, 0, 0]),
    ],
)
def test_what_is_right(text: str, right: list[int]) -> None:
    assert judge_answers(read_criterion(text), ANSWERS).astype(int).tolist() == right


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "CriterionSpec.kind: 'best' was given"),
        ("rank=many", "criterion: 'rank=many' was given; write it as in top-1, margin"),
        ("top-1=3", "top-1 has none"),
        ("loss", "a loss needs one, in nats"),
        ("probability=2", "level is 2; a probability lies above 0"),
        ("rank=0", "level is 0; the level of rank is a number above 0"),
        ("margin=inf", "finite"),
    ],
)
def test_what_is_no_criterion(text: str, message: str) -> None:
    with pytest.raises(SaltusError, match=message):
        read_criterion(text)


def describe(*criteria: str, **changed: Any) -> ScanSpec:
    both = (CopyingSpec(), RepetitionSpec())
    return ScanSpec(suite="x", capabilities=both, criteria=tuple(map(read_criterion, criteria)), **changed)


def test_each_capability_has_its_own() -> None:
    names = ["copying"] * 2 + ["repetition"] * 2
    solved = list_solved(describe("rank=2", "probability=0.1", threshold=0.5), names, ANSWERS)
    assert solved.tolist() == [True, True, True, False, True, True]


def test_a_set_is_there_by_its_mean_loss_and_not_by_a_share() -> None:
    """Losses of 0.69 and 0.92 nats, and of 2 and more than any number."""
    names = ["copying"] * 2 + ["repetition"] * 2
    answers = {**ANSWERS, "probability": np.array([0.5, 0.4, np.exp(-2.0), np.exp(-4.0)])}
    solved = list_solved(describe("loss=0.8", "loss=3.1", threshold=1.0), names, answers)
    assert solved.tolist() == [True, False, True, False, False, True]  # means of 0.805 and 3


def test_records_are_read_as_the_scan_was_followed() -> None:
    """From step 1000 on the margin is there, though no prompt is the most probable one."""
    records = make_records({("14m", "0"): {0: "0000", 1000: "0000", 2000: "0000"}}, names=("indirect_object",) * 4)
    margins = np.repeat([-1.0, 2.0, 2.0], 4)
    place = records.probes.column_names.index("margin")
    probes = records.probes.set_column(place, "margin", [margins])
    for criteria, by in (((), 1000), ((CriterionSpec(),), None), ((read_criterion("loss=0.7"),), 0)):
        asked = ScanSpec(suite="x", capabilities=(IndirectObjectSpec(),), criteria=criteria)
        read = replace(records, spec=asked, probes=probes)
        found = read.curves.emergences()
        assert [emergence.by for emergence in found] == [by] * 5
        rows = [row for row in probes.to_pylist() if row["step"] == 1000]
        answers = {name: np.array([row[name] for row in rows]) for name in ANSWERS}
        solved = list_solved(asked, ["indirect_object"] * 4, answers)
        assert solved.tolist() == [by is not None] * 5


def test_the_usual_ones() -> None:
    capabilities = (CopyingSpec(), IndirectObjectSpec(), PromptFileSpec(path="a/mine.jsonl", sha256="0"))
    usual = ScanSpec(suite="x", capabilities=capabilities).criterion_of
    assert {name: each.kind for name, each in usual.items()} == {
        **{"copying": "top-1", "indirect_object": "margin", "mine.jsonl": "top-1"}
    }
    with pytest.raises(SaltusError, match="criteria has 1 and capabilities 2; give one each, or none"):
        describe("margin")


def test_what_is_new_changes_no_hash() -> None:
    """As they were before scans had criteria, followed sets, or took a tokenizer from elsewhere."""
    several = (CopyingSpec(), IndirectObjectSpec())
    grid = ScanSpec(suite="folder:x", capabilities=several, strategy="grid", seeds=("0",))
    robust = ScanSpec(suite="folder:x", capabilities=(CopyingSpec(),))
    patch = PatchSpec(suite="folder:x", size="1m", recipient=1, donor=2, capability=CopyingSpec())
    assert [spec.folder_hashes for spec in (grid, robust, patch)] == [
        ("eec8965ce8", "ff21e4903c"),
        ("7967249170", "aed2229351"),
        ("318780569a", "16823e96ae"),
    ]
    changed = [describe(), describe("rank", "rank"), describe("rank", "rank=9"), describe(follow="prompts")]
    assert len({spec.content_hash for spec in (*changed, describe(tokenizer="a"))}) == 5


def test_a_margin_needs_foils(saltus: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run" / "step1", make_model(), make_word_tokenizer())
    asked = ("scan", f"folder:{tmp_path / 'run'}", "--capability", "copying", "--out", tmp_path / "out")
    code, _, errors = saltus(*asked, "--criterion", "margin")
    assert (code, "copying has prompts without a foil, and so no margin" in errors) == (2, True)
    code, _, errors = saltus(*asked, "--criterion", "reading:rank")
    assert (code, "'reading' is no capability of this scan; there are copying" in errors) == (2, True)
    code, out, _ = saltus(*asked, "--criterion", "copying:rank=32")  # of 32 words: any answer
    assert (code, "copying is right where the rank of the target, from 0, is below 32" in " ".join(out.split())) == (
        0,
        True,
    )
    [folder] = [folder for folder in api.ls(tmp_path / "out") if folder.finished]
    api.show(folder, Console(quiet=True))
    assert "rank" in (folder.path / "report.html").read_text()


def test_a_step_by_one_criterion_is_not_compared_with_a_step_by_another(
    saltus: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """The capability that is asked for is meant, and not what else a scan holds."""
    for step in (1, 2):
        save_checkpoint(tmp_path / "run" / f"step{step}", make_model(), make_word_tokenizer())
    asked = ("scan", f"folder:{tmp_path / 'run'}", "--capability", "copying", "--capability", "repetition")
    for name, criteria in {"a": ("rank", "rank"), "b": ("top-1", "rank"), "c": ("rank", "rank=3")}.items():
        chosen = [f"{each}:{kind}" for each, kind in zip(("copying", "repetition"), criteria, strict=True)]
        assert saltus(*asked, "--criterion", chosen[0], "--criterion", chosen[1], "--out", tmp_path / name)[0] == 0
    a, b, c = (ScanFolder.list(tmp_path / name)[0] for name in "abc")
    with pytest.raises(SaltusError, match=r"\(right where the rank .* below 10\) and scan-\w+ has share"):
        api.compare(a, b, unit="copying")
    for unit, pair in {"copying": (a, c), "repetition": (a, b)}.items():
        assert {arm.seeds for arm in api.compare(*pair, unit=unit).arms} == {1}
    found = a.records().find_emergences()
    assert found.measure == a.records().curves.measure
    prompts = {question.unit for question in a.records().questions if question.prompt is not None}
    assert any(e.key.unit in prompts for e in found)
    assert read_emergences(a)[0].found == found.found  # prompts are held to two checkpoints, whoever asks
    (pooled,) = api.pool(a)
    assert pooled.coverage.units == len(prompts)
