"""A study for engines: two shapes, an own task, an own measure, and a moment at which something is killed."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.testing import assert_array_equal
from rich.console import Console
from tests.test_kill import assert_equal_runs

from saltus import api
from saltus.studies.study import Study
from saltus.train.folder import RunFolder

QUIET = Console(quiet=True)
PATIENCE = 120.0
"""Seconds after which something that does not happen counts as not happening; nothing is timed by it."""

STUDY = '''
"""Small."""

import numpy as np

from saltus import Cell, CustomTask, LinearMapSpec, RunSpec, ScheduleSpec, Study, TaskFacts, TrainingSpec, TransformerSpec
from saltus.train.measures import Column, Measure


class Parity:
    def __init__(self, generator, bits, subset):
        self.bits, self.subset = bits, generator.choice(bits, subset, replace=False)
        last = bits - 1
        self.facts = TaskFacts.of(symbols=2, length=bits + 1, units={"parity": [last]}, truth={last: self.subset})

    def sample(self, generator, count):
        bits = generator.integers(0, 2, (count, self.bits))
        return np.column_stack([bits, bits[:, self.subset].sum(1) % 2])


def measure_largest(evaluated):
    return {"largest": evaluated.stack("pattern").max(-1).mean(-1)}


often = ScheduleSpec(every=4)
training = TrainingSpec(
    steps=STEPS, batch_sequences=16, compile=False, evaluation_sequences=32, evaluate=often, checkpoint=often
)
model = TransformerSpec(d_model=16, heads=2)
tasks = {"own": CustomTask.of(Parity, bits=8, subset=2), "map": LinearMapSpec(size=6, sparsity=1)}
study = Study(
    cells=[Cell(task=name, run=RunSpec(task=task, model=model, training=training, seeds=1)) for name, task in tasks.items()],
    measures=[Measure("sharpness", ("layer", "head"), (Column("largest", "largest weight"),), measure_largest)],
)
'''


def load(folder: Path, steps: int = 160) -> Study:
    path = folder / "small.py"
    path.write_text(STUDY.replace("STEPS", str(steps)))
    return api.load_study(path)


def interrupt(out: Path, study: Study, what: Callable[[], object]) -> dict[Path, int]:
    """Do something in a thread once every run has a checkpoint, which none has ended by; when those were written.

    The dictionary is filled by then: the time of each checkpoint.
    """
    folders = [RunFolder.of(out, cell.run) for cell in study.cells]
    written: dict[Path, int] = {}

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while not all(folder.newest() for folder in folders):
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        if any(folder.finished for folder in folders):
            return
        what()
        paths = [path for folder in folders for path in folder.path.glob("checkpoints/*/manifest.json")]
        written.update({path: path.stat().st_mtime_ns for path in paths if ".partial" not in str(path)})

    threading.Thread(target=wait, daemon=True).start()
    return written


def assert_resumed(written: dict[Path, int]) -> None:
    """No run began anew: what was committed before the kill was not committed again."""
    assert len(written) >= 2, "nothing was killed in the middle"
    assert {path: path.stat().st_mtime_ns for path in written} == written


def assert_as_here(study: Study, out: Path, here: Path) -> None:
    """Records and weights are those of the engine of this machine, bit by bit, and so is the own measure."""
    for folder in api.run_study(study, out=here, device="cpu", processes=1, console=QUIET):
        other = RunFolder(out / folder.path.name)
        assert_equal_runs(other, folder)
        own: tuple[Any, Any] = tuple(each.records().tables["sharpness"]["largest"] for each in (other, folder))
        assert_array_equal(own[0].to_numpy(), own[1].to_numpy())
