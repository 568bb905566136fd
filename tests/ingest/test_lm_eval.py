"""Results of lm-evaluation-harness, old and new."""

import json
from pathlib import Path

import pytest
from tests.ingest.files import accuracy, write, write_new, write_old

import saltus
from saltus import Key, Rule


def test_old_results_become_curves_by_model_and_step(tmp_path: Path) -> None:
    for step, value in ((0, 0.0), (512, 0.12), (1000, 0.31)):
        for size in ("70m", "1.4b"):
            results = {
                "lambada_openai": accuracy(value) | {"ppl": 9.0 + step, "ppl_stderr": 1.0},
                "piqa": accuracy(0.5 + value / 10),
            }
            path = tmp_path / f"pythia-{size}" / "zero-shot" / f"{size}_step{step}.json"
            write_old(path, f"EleutherAI/pythia-v1.1-{size}", step, results)
    curves = saltus.read(tmp_path)
    assert curves.measure == "acc"
    assert [curve.key for curve in curves] == [
        Key(group, "0", unit)
        for group in ("pythia-v1.1-70m", "pythia-v1.1-1.4b")  # by size, not by letter
        for unit in ("lambada_openai", "piqa")
    ]
    lambada = curves.select(unit="lambada_openai")[0]
    assert lambada.steps.tolist() == [0, 512, 1000]
    assert lambada.values.tolist() == [0.0, 0.12, 0.31]
    assert lambada.standard_error is not None
    assert lambada.standard_error.tolist() == [0.01] * 3
    assert (lambada.chance, lambada.ceiling) == (0.0, 1.0)
    assert curves.select(unit="piqa")[0].chance == 0.5
    assert any("1 metric was not read; choose it with value: ppl (6 values)" in note for note in curves.notes)
    perplexity = saltus.read(tmp_path, value=["ppl"], rule=Rule(below=600.0))
    assert [(e.key.unit, e.after, e.by) for e in perplexity.emergences()][:1] == [("lambada_openai", -1, 0)]


def test_metrics_that_are_asked_for_together_are_units_of_their_own(tmp_path: Path) -> None:
    write_old(tmp_path / "step1.json", "a", 1, {"piqa": {"acc": 0.6, "acc_norm": 0.7, "acc_norm_stderr": 0.02}})
    curves = saltus.read(tmp_path, value=["acc", "acc_norm"])
    assert curves.measure == "value"
    assert [(curve.key.unit, curve.values[0]) for curve in curves] == [("piqa acc", 0.6), ("piqa acc_norm", 0.7)]
    assert (curves[0].standard_error, curves[1].standard_error) == (None, [0.02])


def test_shots_are_units_of_their_own_and_keep_the_level_of_chance(tmp_path: Path) -> None:
    for shots in (0, 5):
        write_old(tmp_path / f"{shots}-shot" / "m_step8.json", "m", 8, {"arc_easy": accuracy(0.3 + shots / 10)}, shots)
    curves = saltus.read(tmp_path)
    assert {c.key.unit: (c.values.tolist(), c.chance) for c in curves} == {
        "arc_easy": ([0.3], 0.25),
        "arc_easy, 5-shot": ([0.8], 0.25),
    }


def test_new_results_and_the_latest_of_several_files(tmp_path: Path) -> None:
    folder = tmp_path / "EleutherAI__pythia-160m-seed3"
    model = "EleutherAI/pythia-160m-seed3"
    for name, step, value, date in (
        ("results_2024-06-02T10-00-00.json", 1000, 0.2, 2e9),  # later than the next one, which comes after it by name
        ("results_2024-06-03T10-00-00.json", 1000, 0.9, 1e9),
        ("results_2024-06-04T10-00-00.json", 2000, 0.4, 3e9),
    ):
        results = {
            "lambada_openai": {"acc,none": value, "acc_stderr,none": 0.03, "perplexity,none": 20.0},
            "gsm8k": {"exact_match,strict-match": value / 2, "exact_match_stderr,strict-match": "N/A"},
        }
        write_new(folder / name, model, step, results, date)
    write(folder / "samples_gsm8k_2024-06-02T10-00-00.jsonl", '{"doc_id": 0, "exact_match": 1.0}\n')
    curves = saltus.read(tmp_path, value=["acc"])
    (curve,) = curves
    assert curve.key == Key("pythia-160m", "3", "lambada_openai")
    assert (curve.steps.tolist(), curve.values.tolist()) == ([1000, 2000], [0.2, 0.4])
    assert curve.standard_error is not None
    assert "1 value came again at the same step, and the latest counts" in curves.notes[0]
    (strict,) = saltus.read(tmp_path, value=["exact_match,strict-match"])
    assert (strict.key.unit, strict.values.tolist(), strict.chance) == ("gsm8k", [0.1, 0.2], 0.0)
    assert strict.standard_error is None


@pytest.mark.parametrize(
    ("arguments", "group", "seed", "step"),
    [
        ("pretrained=allenai/OLMo-1B,revision=step20000-tokens84B,trust_remote_code=True", "OLMo-1B", "0", 20000),
        ("pretrained=/home/me/runs/wide-seed7/checkpoint-500", "wide", "7", 500),
        ({"pretrained": "gpt2", "dtype": "auto"}, "gpt2", "0", 64),  # the step is in the path
        ({"load": "/staged", "iteration": 32, "seed": 1234}, "folder", "0", 32),  # as GPT-NeoX states it
        (None, "folder", "0", 64),
        (7, "folder", "0", 64),
    ],
)
def test_what_the_model_s_arguments_say(tmp_path: Path, arguments: object, group: str, seed: str, step: int) -> None:
    content = {"results": {"x": {"acc": 0.5}}, "config": {"model_args": arguments}}
    write(tmp_path / "folder" / ("results.json" if step != 64 else "results_step64.json"), json.dumps(content))
    (curve,) = saltus.read(tmp_path)
    assert (curve.key.group, curve.key.seed, curve.steps.tolist()) == (group, seed, [step])
