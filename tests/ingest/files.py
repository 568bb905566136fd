"""Invented files in the formats that readers know."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write(path: Path, text: str | bytes) -> Path:
    """A file in folders that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_old(
    path: Path, model: str, step: int | str, results: Mapping[str, Mapping[str, Any]], shots: int = 0
) -> Path:
    """Results as an older lm-evaluation-harness writes them."""
    arguments = f"use_accelerate=True,pretrained={model},revision=step{step}"
    config = {"model": "hf-causal", "model_args": arguments, "num_fewshot": shots, "batch_size": 32}
    return write(path, json.dumps({"results": results, "versions": dict.fromkeys(results, 0), "config": config}))


def write_new(
    path: Path, model: str, step: int, results: Mapping[str, Mapping[str, Any]], date: float, shots: int = 0
) -> Path:
    """Results as lm-evaluation-harness writes them since version 0.4."""
    content = {
        "results": {task: {"alias": f" - {task}", "sample_len": 500} | dict(own) for task, own in results.items()},
        "group_subtasks": {task: [] for task in results},
        "configs": {task: {"task": task, "num_fewshot": shots} for task in results},
        "versions": dict.fromkeys(results, 1.0),
        "n-shot": dict.fromkeys(results, shots),
        "config": {"model": "hf", "model_args": {"pretrained": model, "revision": f"step{step}"}, "limit": None},
        "date": date,
        "model_name": model,
    }
    return write(path, json.dumps(content))


def accuracy(value: float, error: float = 0.01) -> dict[str, float]:
    """The metrics of one task, by the old names."""
    return {"acc": value, "acc_stderr": error}
