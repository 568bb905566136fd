"""The audit of labels: a content that names another model, seed or step than its path."""

from pathlib import Path

import pytest
from tests.ingest.files import accuracy, write_new, write_old

import saltus
from saltus.ingest.audit import find_contradiction
from saltus.labels import Labels, guess_labels

MODELS = [f"EleutherAI/pythia-{size}{seed}" for size in ("70m", "160m") for seed in ("", "-seed1", "-seed2")] + [
    "EleutherAI/pythia-160m-deduped",
    "EleutherAI/pythia-v1.1-410m",
    "EleutherAI/pythia-v1.1-410m-deduped",
]


@pytest.mark.parametrize(
    ("path", "model", "contradicts"),
    [
        ("pythia-160m/step8/EleutherAI__pythia-160m/results.json", "EleutherAI/pythia-160m", False),
        ("pythia-160m-seed1/step8/results.json", "EleutherAI/pythia-160m-seed1", False),
        ("160m/seed1/step8.json", "EleutherAI/pythia-160m-seed1", False),
        ("pythia-160m_seed-01/step8.json", "EleutherAI/pythia-160m-seed1", False),
        ("pythia-410m/zero-shot/410m_step8.json", "EleutherAI/pythia-v1.1-410m", False),
        ("pythia-410m-deduped/410m-deduped_step8.json", "EleutherAI/pythia-v1.1-410m-deduped", False),
        ("runs/a/step8.json", "EleutherAI/pythia-160m", False),  # a path that says nothing
        ("pythia-160m-seed1/step8/results.json", "EleutherAI/pythia-160m", True),
        ("160m/seed1/step8.json", "EleutherAI/pythia-160m", True),
        ("pythia-160m-seed1/step8/results.json", "EleutherAI/pythia-160m-seed2", True),
        ("pythia-160m/step8/results.json", "EleutherAI/pythia-160m-seed2", True),
        ("pythia-160m-seed1/step8/results.json", "EleutherAI/pythia-70m-seed1", True),
        ("pythia-160m/step8/results.json", "EleutherAI/pythia-160m-deduped", True),
        ("pythia-160m-deduped/step8/results.json", "EleutherAI/pythia-160m", True),
        ("pythia-410m-deduped/step8.json", "EleutherAI/pythia-v1.1-410m", True),
        ("pythia-2.8b/step8.json", "EleutherAI/pythia-160m", True),  # of another size, and no model has the path's
        ("pythia-160m/step9.json", "EleutherAI/pythia-160m", True),
        ("c4-10b/run/step8/results.json", "EleutherAI/pythia-160m", False),  # a size of the data
        ("pythia-160m/pile-300b/step8.json", "EleutherAI/pythia-160m", False),
        ("10b/run/step8/results.json", "EleutherAI/pythia-160m", True),
    ],
)
def test_paths_and_contents_that_contradict_each_other(path: str, model: str, contradicts: bool) -> None:
    found = find_contradiction(path, guess_labels(path), model, "step8", MODELS)
    assert (found is not None) == contradicts, found


def test_names_that_share_no_word_with_their_paths_are_left_in_peace() -> None:
    for path, model in (("exp1/step8.json", "me/small"), ("exp2/step8.json", "me/small-v2"), ("exp3/a.json", "out/8")):
        assert find_contradiction(path, guess_labels(path), model, "", ["me/small", "me/small-v2", "out/8"]) is None


def test_numbers_of_steps_and_times_are_no_words_of_a_model() -> None:
    models = [f"out/checkpoint-{step}" for step in (5, 10, 20, 40)]
    for day, model in zip((5, 6, 7, 8), models, strict=True):
        path = f"results_2024-10-{day:02}T20-40-00.123.json"
        assert find_contradiction(path, guess_labels(path), model, "", models) is None


def test_the_size_that_contradicts_is_said() -> None:
    said = find_contradiction("me/pythia-410m/x.json", Labels(), "EleutherAI/pythia-160m", "", MODELS)
    assert said == "EleutherAI/pythia-160m in its content, 410m in its path"


def test_a_step_is_compared_where_no_model_is_named() -> None:
    path = "pythia-160m/seed1/step8.json"
    assert find_contradiction(path, guess_labels(path), "", "step8", MODELS) is None
    assert find_contradiction(path, guess_labels(path), "", "step9", MODELS) is not None


def test_seeds_are_not_asked_of_contents_that_never_name_them() -> None:
    path = "wide-seed3/step8.json"
    assert find_contradiction(path, guess_labels(path), "out/final", "", ["out/final", "out/last"]) is None


def test_a_wrong_label_is_left_out_and_said(tmp_path: Path) -> None:
    for seed in ("", "-seed1", "-seed2"):
        for step in (1, 2, 4):
            model = f"EleutherAI/pythia-14m{'' if (seed, step) == ('-seed2', 4) else seed}"
            path = tmp_path / f"pythia-14m{seed}" / f"results_{step}.json"
            write_new(path, model, step, {"piqa": {"acc,none": 0.5 + step / 10}}, 1e9)
    write_old(tmp_path / "pythia-14m" / "old_step8.json", "EleutherAI/pythia-14m", 16, {"piqa": accuracy(0.5)})
    curves = saltus.read(tmp_path)
    assert {curve.key.seed: curve.steps.tolist() for curve in curves} == {
        "0": [1, 2, 4],
        "1": [1, 2, 4],
        "2": [1, 2],
    }
    (note,) = [note for note in curves.notes if "another model" in note]
    assert note.startswith("2 files are about")
    assert "pythia-14m/old_step8.json (step 16 in its content, step 8 in its path)" in note
    assert "pythia-14m-seed2/results_4.json (EleutherAI/pythia-14m in its content)" in note
    assert curves[2].missing == (4,)
