"""Labels from paths: by a pattern, or by the usual words."""

import json
from pathlib import Path

import pytest
from tests.ingest.files import write

import saltus
from saltus import Key, SaltusError
from saltus.labels import Labels, compile_pattern, describe_model, guess_labels, read_pattern


@pytest.mark.parametrize(
    ("pattern", "path", "labels"),
    [
        ("{group}-seed{seed}/step{step}/*.json", "evals/wide-seed3/step100/x.json", Labels("wide", "3", 100)),
        ("{group}-seed{seed}/step{step}/*.json", "wide-seed3/step100/x.json", Labels("wide", "3", 100)),
        ("{group}-seed{seed}/step{step}/*.json", "wide-seed3/step100/deep/x.json", None),
        ("{group}-seed{seed}/step{step}/*.json", "wide-seed3/step1e3/x.json", None),
        ("{group}-seed{seed}/step{step}/**.json", "wide-seed3/step100/deep/x.json", Labels("wide", "3", 100)),
        ("{group}/{seed}.csv", "a-seed1/b+c.csv", Labels("a-seed1", "b+c", None)),
        ("evals/*{step}.json", "evals/step1000.json", Labels(None, None, 1000)),  # what is before takes no digit of it
        ("{group}{step}.json", "tiny100.json", Labels("tiny", None, 100)),
        ("x(1)/{step}.json", "x(1)/7.json", Labels(None, None, 7)),
        ("{step}.json", "99999999999999999999.json", Labels()),  # beyond any step
    ],
)
def test_a_pattern_reads_paths(pattern: str, path: str, labels: Labels | None) -> None:
    assert read_pattern(compile_pattern(pattern), path) == labels


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("pythia-160m/zero-shot/160m_step512.json", Labels("pythia-160m/zero-shot/160m", None, 512)),
        ("wide_seed=03/checkpoint-500/trainer_state.json", Labels("wide", "3", 500)),
        ("runs/seed1/global_step20/results.json", Labels("runs", "1", 20)),
        ("doorstep5/fastseed2.csv", Labels("doorstep5/fastseed2", None, None)),
        ("step1/step2.json", Labels(None, None, 2)),
        ("OLMo-1B/step1000-tokens4B/metrics.csv", Labels("OLMo-1B", None, 1000)),
        ("a-tokens20B/step5/metrics.csv", Labels("a-tokens20B", None, 5)),  # tokens of the whole run
        ("seed" + "9" * 5000 + ".csv", Labels(guess_labels("seed" + "9" * 5000 + ".csv").group, None, None)),
        ("results_2024-06-02T10-00-00.123456.json", Labels()),
        ("a-0shot-global_step500_eval_results_12-30-2022-23-06-16.json", Labels("a-0shot-eval_results", None, 500)),
    ],
)
def test_the_usual_words_are_found(path: str, labels: Labels) -> None:
    assert guess_labels(path) == labels


def test_a_revision_comes_before_the_model_s_own_step() -> None:
    assert describe_model("EleutherAI/pythia-160m-seed3", "step1000") == Labels("pythia-160m", "3", 1000)
    assert describe_model("out/wide/checkpoint-7", "main") == Labels("wide", None, 7)
    assert describe_model("step7") == Labels(None, None, 7)


def test_what_does_not_fit_a_pattern_is_left_out_and_said(tmp_path: Path) -> None:
    for name in ("a-1/step5", "a-2/step5", "b"):
        write(tmp_path / name / "log.csv", "acc\n0.5\n" if name != "b" else "step,acc\n1,0.5\n")
    curves = saltus.read(tmp_path, pattern="{group}-{seed}/step{step}/*.csv")
    assert [curve.key for curve in curves] == [Key("a", "1", "acc"), Key("a", "2", "acc")]
    assert f"1 file does not fit the pattern and was left out: {tmp_path.name}/b/log.csv" in curves.notes
    with pytest.raises(SaltusError, match="there is nothing to read; 3 files do not fit the pattern"):
        saltus.read(tmp_path, pattern="{group}/{seed}/{step}/*.csv")


@pytest.mark.parametrize("pattern", ["*.json", "{size}/*.json", "{seed}/{seed}.csv", "{}/x"])
def test_a_pattern_that_names_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(SaltusError, match=r"it names \{group\}, \{seed\} and \{step\}, at least one of them"):
        saltus.read(".", pattern=pattern)


def test_several_folders_are_groups_of_their_own(tmp_path: Path) -> None:
    for name in ("before", "after"):
        for seed in (0, 1):
            write(tmp_path / name / f"seed{seed}.csv", f"step,acc\n0,0.{seed}\n")
    curves = saltus.read(tmp_path / "before", tmp_path / "after")
    assert [curve.key[:2] for curve in curves] == [("after", "0"), ("after", "1"), ("before", "0"), ("before", "1")]
    assert [curve.key[:2] for curve in saltus.read(tmp_path / "before")] == [("before", "0"), ("before", "1")]
    named = [tmp_path / "before" / "seed0.csv", tmp_path / "after" / "seed1.csv"]
    assert [curve.key[:2] for curve in saltus.read(*named, pattern="{group}/seed{seed}.csv")] == [
        ("after", "1"),
        ("before", "0"),
    ]


def test_labels_of_rows_come_before_those_of_the_path(tmp_path: Path) -> None:
    lines = [{"step": 3, "seed": 5.0, "model": "m", "acc": 0.5}]
    write(tmp_path / "g" / "seed1" / "step9.jsonl", "\n".join(map(json.dumps, lines)))
    (curve,) = saltus.read(tmp_path)
    assert (curve.key, curve.steps.tolist()) == (Key("m", "5", "acc"), [3])
    (curve,) = saltus.read(tmp_path, pattern="{group}/seed{seed}/step{step}.jsonl")  # and a pattern before both
    assert (curve.key, curve.steps.tolist()) == (Key("g", "1", "acc"), [9])


def test_folders_of_checkpoints_name_no_model() -> None:
    assert describe_model("/scratch/lr1/checkpoints/step100") == Labels("lr1", None, 100)
    assert describe_model("out/wide/hf") == Labels("wide", None, None)
    assert describe_model("checkpoints/step5") == Labels("checkpoints", None, 5)
    assert guess_labels("a/step1.5k/results.json") == Labels("a", None, 1_500)
    assert guess_labels("a/step1000final.json").step == 1_000


def test_files_that_are_asked_for_themselves_are_told_apart_by_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lr1", "lr2"):
        write(tmp_path / "all" / name / "log.csv", "step,acc\n1,0.5\n")
    files = [tmp_path / "all" / name / "log.csv" for name in ("lr1", "lr2")]
    absolute = saltus.read(*files)
    monkeypatch.chdir(tmp_path)
    relative = saltus.read(*(path.relative_to(tmp_path) for path in files))
    for curves in (absolute, relative):
        assert [curve.key[:2] for curve in curves] == [("all/lr1", "0"), ("all/lr2", "0")]
        assert not any("came again" in note for note in curves.notes)
