"""The log of Hugging Face's Trainer, as it stands in each checkpoint."""

import json
from pathlib import Path

from tests.ingest.files import write

import saltus
from saltus import Key


def write_state(path: Path, steps: int) -> None:
    log = [{"epoch": step / 50, "loss": 1 / step, "learning_rate": 1e-4, "step": step} for step in range(10, steps, 10)]
    log += [{"epoch": 1.0, "eval_accuracy": 0.5, "eval_runtime": 2.5, "step": steps}, "what", {"train_loss": None}]
    write(path, json.dumps({"best_metric": None, "epoch": 1.0, "global_step": steps, "log_history": log}))


def test_the_checkpoints_of_a_training_are_one_curve(tmp_path: Path) -> None:
    for seed in (1, 2):
        for checkpoint in (50, 100):
            path = tmp_path / f"llama-seed{seed}" / f"checkpoint-{checkpoint}" / "trainer_state.json"
            write_state(path, checkpoint)
    curves = saltus.read(tmp_path, value=["loss", "eval_accuracy"])
    assert {curve.key: curve.steps.tolist() for curve in curves} == {
        Key("llama", seed, unit): steps
        for seed in ("1", "2")
        for unit, steps in (("eval_accuracy", [50, 100]), ("loss", list(range(10, 100, 10))))
    }
    assert curves.select(seed="1", unit="loss")[0].values.tolist() == [1 / step for step in range(10, 100, 10)]
    assert {curve.key.unit for curve in saltus.read(tmp_path)} == {
        "loss",
        "learning_rate",
        "eval_accuracy",
        "eval_runtime",
    }
