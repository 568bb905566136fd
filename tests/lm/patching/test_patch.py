"""A whole patch of tiny models: its tables, its controls, its folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console
from tests.lm.tiny_suite import WORDS, make_model, make_word_tokenizer

from saltus import api
from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.patching import patch as patch_module
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.patching.patch import RANDOM_DRAWS, SHOWN_PROMPTS, patch_heads
from saltus.lm.patching.records import PATCH_TABLES
from saltus.lm.patching.tap import capture_patterns
from saltus.lm.scanning.probe import probe
from saltus.specs.capabilities import CopyingSpec
from saltus.specs.checkpoints import PatchSpec
from saltus.storage.folder import AGAIN

torch.set_num_threads(1)

RECIPIENT, DONOR = make_model(0, layers=3), make_model(1, layers=3)
HEADS = [(layer, head) for layer in range(3) for head in range(2)]


def make_prompts(lengths: tuple[int, ...] = (7, 5, 7, 5, 7)) -> list[Prompt]:
    """With the token that the donor prefers to the recipient's choice as target, so that there is a gain."""
    generator = np.random.default_rng(0)
    prompts: list[Prompt] = []
    for length in lengths:
        tokens = generator.integers(0, 32, length).tolist()
        chances = [capture_patterns(m, torch.tensor([tokens])).logits[0, -1].softmax(-1) for m in (RECIPIENT, DONOR)]
        target = int((chances[1] - chances[0]).argmax())
        prompts.append(Prompt(" ".join(WORDS[t] for t in tokens), tuple(tokens), (target,), WORDS[target]))
    return prompts


def make_spec(**changes: Any) -> PatchSpec:
    values: dict[str, Any] = {
        "suite": "folder:none",
        "size": "tiny",
        "recipient": 1,
        "donor": 2,
        "capability": CopyingSpec(),
        "share": 0.5,
        "most_heads": 3,
    }
    return PatchSpec(**{**values, **changes})


def patch(prompts: list[Prompt], spec: PatchSpec | None = None, **arguments: Any) -> dict[str, pa.Table]:
    return patch_heads(spec or make_spec(), RECIPIENT, DONOR, prompts, make_word_tokenizer(), **arguments)


def effects_of(tables: dict[str, pa.Table], kind: str) -> np.ndarray[Any, Any]:
    """[layer, head, prompt]"""
    rows = [row for row in tables["effects"].to_pylist() if row["kind"] == kind]
    return np.array([row["probability"] for row in rows]).reshape(3, 2, -1)


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return patch(make_prompts())


def test_the_tables_have_their_schemas_and_every_head_and_prompt(tables: dict[str, pa.Table]) -> None:
    assert {name: table.schema for name, table in tables.items()} == {
        name: schema for name, schema in PATCH_TABLES.items() if name != "trajectory"
    }
    kinds = ["patch", "reverse", "self", "shuffled", "zero", "mean", "resample", "uniform"]
    keys = tables["effects"].select(["kind", "layer", "head", "prompt"]).to_pylist()
    assert [tuple(key.values()) for key in keys] == [(k, *head, p) for k in kinds for head in HEADS for p in range(5)]


def test_the_unpatched_probabilities_are_those_of_a_probe(tables: dict[str, pa.Table]) -> None:
    for name, model in (("recipient", RECIPIENT), ("donor", DONOR)):
        expected = probe(model, make_prompts(), rows=256).probability
        np.testing.assert_allclose(tables["prompts"][name].to_numpy(), expected, rtol=1e-5)


def test_a_difference_of_logits_is_that_of_two_patches() -> None:
    """Target less foil, each as the target of a patch of its own; of several foils the best; of long ones none."""
    plain = make_prompts((5, 5, 5, 7))
    foils = [((1,),), ((2,), (3,)), ((4, 5),), ()]
    prompts = [replace(prompt, foils=several) for prompt, several in zip(plain, foils, strict=True)]
    spec = make_spec(effects=("patch", "reverse"))
    tables = patch(prompts, spec)
    others = [[replace(prompt, target=(token,)) for prompt in plain] for token in (1, 2, 3)]
    asked = [np.log(effects_of(patch(each, spec), "patch")) for each in (plain, *others)]
    target, first, second, third = asked  # each [layer, head, prompt]
    rows = [row["difference"] for row in tables["effects"].to_pylist() if row["kind"] == "patch"]
    found = np.array(rows, dtype=np.float64).reshape(3, 2, 4)
    np.testing.assert_allclose(found[..., 0], (target - first)[..., 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[..., 1], (target - np.maximum(second, third))[..., 1], rtol=1e-4, atol=1e-5)
    assert np.isnan(found[..., 2:]).all()
    margin = probe(RECIPIENT, prompts, rows=8).margin
    np.testing.assert_allclose(tables["prompts"]["recipient_difference"].to_pylist()[:2], margin[:2], rtol=1e-4)


def test_a_self_patch_changes_nothing_but_rounding(tables: dict[str, pa.Table]) -> None:
    """Against the unpatched model itself, and not against passes that might leave out the same."""
    recipient = tables["prompts"]["recipient"].to_numpy()
    assert np.abs(effects_of(tables, "self") - recipient).max() < 1e-6
    assert (np.abs(effects_of(tables, "patch") - recipient) > 1e-5).all()


def test_what_all_passes_share_is_seen_in_the_self_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = patch_module.measure_answers

    def leave_something_out(*arguments: Any, **named: Any) -> np.ndarray[Any, Any]:
        return measure(*arguments, **named) + 0.1

    monkeypatch.setattr(patch_module, "measure_answers", leave_something_out)
    tables = patch(make_prompts((5, 5)))
    said = np.log(effects_of(tables, "self") / tables["prompts"]["recipient"].to_numpy())
    np.testing.assert_allclose(said, 0.1, atol=1e-5)


def test_a_control_goes_into_the_model_that_it_is_meant_for(tables: dict[str, pa.Table]) -> None:
    """A single head leaves the patched model nearer to what it was than to the other one."""
    recipient, donor = (tables["prompts"][name].to_numpy() for name in ("recipient", "donor"))
    for kind, of, other in (
        ("patch", recipient, donor),
        ("shuffled", recipient, donor),
        ("reverse", donor, recipient),
        ("zero", donor, recipient),
        ("mean", donor, recipient),
        ("resample", donor, recipient),
        ("uniform", donor, recipient),
    ):
        effects = effects_of(tables, kind)
        assert np.median(np.abs(effects - of)) < 0.5 * np.median(np.abs(effects - other)), kind
    assert (effects_of(tables, "shuffled") != effects_of(tables, "patch")).any()


def test_the_sets_are_complete_and_the_greedy_ones_grow(tables: dict[str, pa.Table]) -> None:
    rows = tables["sets"].to_pylist()
    sets = {(row["kind"], row["draw"], tuple(map(tuple, row["heads"]))) for row in rows}
    greedy = sorted((heads for kind, _, heads in sets if kind == "greedy"), key=len)
    assert [len(heads) for heads in greedy] == list(range(1, len(greedy) + 1))
    assert all(heads == greedy[-1][: len(heads)] for heads in greedy)
    drawn = {draw: heads for kind, draw, heads in sets if kind == "random"}
    assert sorted(drawn) == list(range(RANDOM_DRAWS))
    assert {len(set(heads)) for heads in drawn.values()} == {len(greedy)}
    assert len(set(drawn.values())) > 1
    assert {heads for kind, _, heads in sets if kind == "all"} == {tuple(HEADS)}
    assert sorted(len(heads) for kind, _, heads in sets if kind == "screen") == [len(heads) for heads in greedy]
    assert len(rows) == 5 * (2 * len(greedy) + RANDOM_DRAWS + 1)
    first = effects_of(tables, "patch").mean(axis=2)
    assert greedy[0] == (tuple(np.unravel_index(first.argmax(), first.shape)),)


def test_the_patterns_of_the_chosen_heads_are_kept(tables: dict[str, pa.Table]) -> None:
    greedy = [row["heads"] for row in tables["sets"].to_pylist() if row["kind"] == "greedy"][-1]
    rows = tables["patterns"].to_pylist()
    assert len(rows) == 2 * SHOWN_PROMPTS * len(greedy)
    prompts = make_prompts()
    for row in rows:
        prompt = prompts[row["prompt"]]
        assert " ".join(row["tokens"]) == prompt.text
        model = RECIPIENT if row["model"] == "recipient" else DONOR
        expected = capture_patterns(model, torch.tensor([prompt.tokens])).patterns[row["layer"]][0, row["head"]]
        np.testing.assert_allclose(row["pattern"], expected.flatten().numpy(), rtol=1e-6)


def test_controls_are_drawn_from_the_master_seed_alone(tables: dict[str, pa.Table]) -> None:
    again = patch(make_prompts(), make_spec(rows=2))
    for kind in ("shuffled", "resample", "mean"):
        np.testing.assert_allclose(effects_of(again, kind), effects_of(tables, kind), rtol=0, atol=1e-6)
    assert again["sets"].select(["kind", "draw", "heads"]).equals(tables["sets"].select(["kind", "draw", "heads"]))
    other = patch(make_prompts(), make_spec(master_seed=1))
    assert np.abs(effects_of(other, "shuffled") - effects_of(tables, "shuffled")).max() > 1e-4
    assert np.array_equal(effects_of(other, "patch"), effects_of(tables, "patch"))


def test_what_takes_two_prompts_of_a_length_is_missing_for_one() -> None:
    tables = patch(make_prompts((7, 7, 5)))
    for kind in ("mean", "resample"):
        assert np.isnan(effects_of(tables, kind)).any(axis=(0, 1)).tolist() == [False, False, True]
    assert not np.isnan(effects_of(tables, "uniform")).any()


def test_without_a_gain_there_is_no_greedy_set_and_the_best_head_is_shown() -> None:
    prompts = make_prompts()
    tables = patch_heads(make_spec(), DONOR, RECIPIENT, prompts, make_word_tokenizer())
    assert tables["sets"]["kind"].unique().to_pylist() == ["all"]
    shown = {(row["layer"], row["head"]) for row in tables["patterns"].to_pylist()}
    effects = effects_of(tables, "patch").mean(axis=2)
    assert shown == {tuple(np.unravel_index(effects.argmax(), effects.shape))}


# --- the folder --------------------------------------------------------------------------------------------------


def write(folder: PatchFolder, tables: dict[str, pa.Table], spec: PatchSpec | None = None) -> PatchFolder:
    with folder.writing(spec or make_spec()):
        folder.commit(tables)
        folder.finish({"device": "cpu"})
    return folder


def test_a_patch_is_read_as_it_was_written(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    spec = make_spec()
    folder = PatchFolder(tmp_path / spec.identify("patch"))
    assert not folder.finished
    write(folder, tables)
    assert (folder.finished, folder.summary()) == (True, {"device": "cpu"})
    records = folder.records()
    assert records.spec == folder.spec() == spec
    assert all(getattr(records, name).equals(table) for name, table in tables.items())
    assert (folder.has_trajectory, len(records.trajectory)) == (False, 0)
    (tmp_path / "patch-0.partial").mkdir()
    (tmp_path / "patch-0.partial" / "patch.json").write_text("{}")
    assert [found.path for found in PatchFolder.list(tmp_path)] == [folder.path]
    with pytest.raises(SaltusError, match="has just been finished by another process"):
        write(folder, tables)


def test_a_kill_before_the_tables_leaves_nothing_but_the_description(
    tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    folder = PatchFolder(tmp_path / make_spec().identify("patch"))
    with folder.writing(make_spec()), pytest.raises(KeyError):
        folder.commit({name: table for name, table in tables.items() if name != "patterns"})
    assert {path.name for path in folder.path.iterdir()} - {".lock"} == {"patch.json"}
    assert write(folder, tables).finished


def test_damaged_tables_are_named_and_measured_again(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    folder = write(PatchFolder(tmp_path / "patch"), tables)
    path = folder.path / "records" / "effects.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    remedy = rf"move {path.parent} away {AGAIN}: the patch is measured again"
    with pytest.raises(SaltusError, match=rf"{path} differs from what was written; {remedy}"):
        folder.records()
    (path.parent / "manifest.json").write_text("[]")
    with pytest.raises(SaltusError, match=rf"manifest\.json holds no JSON object; {remedy}"):
        folder.records()
    path.parent.rename(tmp_path / "away")
    assert not folder.finished
    write(folder, tables)
    assert all(getattr(folder.records(), name).equals(table) for name, table in tables.items())
    assert len(list((tmp_path / "away").iterdir())) == len(tables) + 1


@pytest.mark.parametrize("name", ["patch.json", "finished.json"])
def test_description_and_summary_are_written_anew_beside_whole_tables(
    name: str, tables: dict[str, pa.Table], tmp_path: Path
) -> None:
    """By the command itself, which neither opens the suite nor measures: there is none."""
    spec = make_spec()
    folder = write(PatchFolder(tmp_path / spec.identify("patch")), tables)
    path = folder.path / name
    path.write_text("{")
    with pytest.raises(SaltusError, match=rf"^{path} cannot be read .*; delete it {AGAIN}: it is written anew"):
        folder.spec() if name == "patch.json" else folder.summary()
    path.unlink()
    api.patch(spec, out=tmp_path, console=Console(quiet=True))
    assert (folder.finished, folder.spec()) == (True, spec)
    assert "versions" in folder.summary() or name == "patch.json"
    assert all(getattr(folder.records(), name).equals(table) for name, table in tables.items())


def test_an_edited_description_is_said_to_be_so(tables: dict[str, pa.Table], tmp_path: Path) -> None:
    spec = make_spec()
    folder = write(PatchFolder(tmp_path / spec.identify("patch")), tables)
    path = folder.path / "patch.json"
    path.write_text(path.read_text().replace('"donor": 2', '"donor": 3'))
    for use in (folder.records, lambda: api.patch(spec, out=tmp_path, console=Console(quiet=True))):
        with pytest.raises(SaltusError, match=rf"^{path} was edited: the hash of its content is .*; delete it {AGAIN}"):
            use()


def test_a_token_that_the_models_do_not_know_is_refused_before_anything_is_patched() -> None:
    strange = Prompt("strange", (1, 32, 3), (4,), "4")
    with pytest.raises(SaltusError, match="holds the token 32 and the model knows 32 tokens"):
        patch([*make_prompts(), strange])
