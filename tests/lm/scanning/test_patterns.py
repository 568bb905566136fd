"""Known patterns over checkpoints: the masses of every head, beside what the checkpoint says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.lm.tiny_scans import FIRST, SECOND, describe, make_suite, read_tables, run_scan, save_states
from tests.lm.tiny_suite import make_word_tokenizer
from transformers import AutoModelForCausalLM

from saltus.errors import SaltusError
from saltus.known_patterns import find_patterns, mask_sequences
from saltus.lm import pattern_scores
from saltus.lm.pattern_scores import make_probe_tokens
from saltus.lm.scanning.folder import ScanFolder
from saltus.specs.checkpoints import PatternName, ScanSpec

PATTERNS: tuple[PatternName, ...] = ("induction", "previous_token")


def ask_for(*patterns: Any) -> ScanSpec:
    values: dict[str, Any] = {**describe().model_dump(), "patterns": patterns}
    return ScanSpec(**values)


SPEC = ask_for(*PATTERNS)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_states(tmp_path_factory.mktemp("states"))


def test_patterns_that_are_not_asked_for_change_no_hash() -> None:
    assert ask_for().content_hash == describe().content_hash
    assert SPEC.content_hash != describe().content_hash
    with pytest.raises(SaltusError, match="patterns"):
        ask_for("inducton")


def test_the_masses_are_those_of_eager_attention(states: dict[str, Path], tmp_path: Path) -> None:
    folder = run_scan(SPEC, make_suite(states), ScanFolder(tmp_path / "scan"))
    masks = mask_sequences(find_patterns(PATTERNS), make_probe_tokens(make_word_tokenizer(), 0))
    rows = folder.records().patterns.to_pylist()
    assert len(rows) == 18 * 2 * 2  # checkpoints, heads of the only layer, patterns
    for name, step in (("nothing", 0), ("half", 4), ("full", 40)):
        model = AutoModelForCausalLM.from_pretrained(states[name], attn_implementation="eager")
        with torch.no_grad():
            [eager] = model(torch.from_numpy(masks.tokens), output_attentions=True).attentions
        expected = masks.weigh(eager.transpose(0, 1).numpy())  # [head, pattern]
        own = [row for row in rows if (row["seed"], row["step"]) == (FIRST.seed, step)]
        found = {(row["layer"], row["head"], row["pattern"]): row["mass"] for row in own}
        assert found == pytest.approx(
            {(0, head, name): expected[head, place] for head in range(2) for place, name in enumerate(PATTERNS)},
            abs=1e-6,
        )
        chance = {row["pattern"]: row["chance"] for row in own}
        assert chance == pytest.approx(dict(zip(PATTERNS, masks.chance, strict=True)))
    strongest = folder.records().strongest
    assert [curve.key[1:] for curve in strongest] == [(run.seed, name) for run in (FIRST, SECOND) for name in PATTERNS]
    [curve] = strongest.select(seed=SECOND.seed, unit="induction")
    assert curve.values[list(curve.steps).index(20)] == max(
        row["mass"] for row in rows if (row["seed"], row["step"], row["pattern"]) == (SECOND.seed, 20, "induction")
    )


def test_everything_else_is_what_it_is_without_patterns(states: dict[str, Path], tmp_path: Path) -> None:
    plain, watched = (
        run_scan(spec, make_suite(states), ScanFolder(tmp_path / spec.content_hash)) for spec in (describe(), SPEC)
    )
    of_plain, of_watched = read_tables(plain), read_tables(watched)
    assert of_plain.pop("patterns") == []
    assert len(of_watched.pop("patterns")) == 72
    assert of_plain == of_watched


def test_attention_that_cannot_be_read_costs_nothing_else(
    states: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("no attention here")

    monkeypatch.setattr(pattern_scores, "score_model", refuse)
    records = run_scan(SPEC, make_suite(states), ScanFolder(tmp_path / "scan")).records()
    assert len(records.probes) == 18 * 7
    assert len(records.missing) == 0
    assert list(records.strongest) == []
    assert "in 18 of 18 checkpoints attention could not be read: RuntimeError: no attention here" in records.notes


def test_a_damaged_part_says_what_to_delete_and_is_measured_again(states: dict[str, Path], tmp_path: Path) -> None:
    suite, folder = make_suite(states), ScanFolder(tmp_path / "scan")
    run_scan(SPEC, suite, folder)
    before = read_tables(folder)
    part = tmp_path / "scan" / "patterns" / FIRST.size / FIRST.seed / "00000020.parquet"
    part.write_bytes(b"")
    run_scan(SPEC, suite, _reopen(folder))  # it is in the records
    assert read_tables(folder) == before
    part.write_bytes(b"")
    for path in (tmp_path / "scan" / "records").iterdir():
        path.unlink()
    (tmp_path / "scan" / "records").rmdir()
    with pytest.raises(SaltusError, match=r"patterns.*; delete it and .*checkpoints") as refused:
        folder.records()
    assert str(part) in str(refused.value)
    part.unlink()
    (tmp_path / "scan" / "checkpoints" / FIRST.size / FIRST.seed / part.name).unlink()
    run_scan(SPEC, suite, _reopen(folder))
    assert read_tables(folder) == before


def _reopen(folder: ScanFolder) -> ScanFolder:
    folder.reopen()
    return folder


def test_the_probe_batch_repeats_and_is_the_same_for_equal_tokenizers() -> None:
    tokens = make_probe_tokens(make_word_tokenizer(), 0)
    assert tokens.shape == (8, 24)
    assert (tokens[:, :12] == tokens[:, 12:]).all()
    assert (make_probe_tokens(make_word_tokenizer(), 0) == tokens).all()
    assert (make_probe_tokens(make_word_tokenizer(), 1) != tokens).any()
    small = make_probe_tokens(make_word_tokenizer(["a", "b", "c"]), 0)
    assert small.shape == (8, 6)
    assert np.isfinite(mask_sequences(find_patterns(PATTERNS), small).chance).all()
