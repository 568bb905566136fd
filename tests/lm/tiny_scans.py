"""Scans of the tiny suite: checkpoints in several states, and what the tests of scans do with them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
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

from saltus.lm.capabilities.build import make_prompts
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.scanning.records import SCAN_TABLES
from saltus.lm.scanning.scan import scan
from saltus.lm.suites.base import Run
from saltus.lm.suites.load import LoadedModel, load_model
from saltus.report.terminal.scan import ScanView
from saltus.specs.capabilities import CopyingSpec, RepetitionSpec
from saltus.specs.checkpoints import Precision, ScanSpec

CPU = torch.device("cpu")
COPYING, REPETITION = CopyingSpec(prompts=4), RepetitionSpec(prompts=3, tokens=5)
FIRST, SECOND = Run("1m", "0"), Run("1m", "1")
_LOADED = cache(load_model)
STEPS = [0, 1, 2, 4, 8, 10, 20, 30, 40]


class LoadOnce:
    """As `ModelLoader`, each checkpoint once for all tests."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._arguments = precision, device

    def load(self, folder: Path) -> LoadedModel:
        return _LOADED(folder, *self._arguments)


def describe(strategy: Literal["grid", "bisect", "robust"] = "grid") -> ScanSpec:
    return ScanSpec(suite="folder:memory", capabilities=(COPYING, REPETITION), strategy=strategy, coarse=3)


def save_states(root: Path) -> dict[str, Path]:
    """Checkpoints that know nothing, only how to copy, and both; and some that are no good."""
    torch.set_num_threads(1)
    tokenizer = make_word_tokenizer()
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
