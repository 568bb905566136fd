"""A study for engines: two shapes, an own task, an own measure; it waits in the middle until something was killed."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from numpy.testing import assert_array_equal
from rich.console import Console
from tests.test_kill import assert_equal_runs

from saltus import api
from saltus.studies.study import Study
from saltus.train.folder import RunFolder

QUIET = Console(quiet=True)
PATIENCE = 240.0
"""Seconds after which something that does not happen counts as not happening; nothing is timed by it."""

STUDY = '''
"""Small."""

import time
from pathlib import Path

import numpy as np

from saltus import Cell, CustomTask, LinearMapSpec, RunSpec, ScheduleSpec, Study, TrainingSpec, TransformerSpec
from saltus import TaskFacts
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
    while evaluated.step == 24 and not Path("GO").exists():
        time.sleep(0.02)
    return {"largest": evaluated.stack("pattern").max(-1).mean(-1)}


often = ScheduleSpec(every=8)
training = TrainingSpec(
    steps=48, batch_sequences=16, compile=False, evaluation_sequences=32, evaluate=often, checkpoint=often
)
model = TransformerSpec(d_model=16, heads=2)
tasks = {"own": CustomTask.of(Parity, bits=8, subset=2), "map": LinearMapSpec(size=6, sparsity=1)}
runs = {name: RunSpec(task=task, model=model, training=training, seeds=1) for name, task in tasks.items()}
study = Study(
    cells=[Cell(task=name, run=run) for name, run in runs.items()],
    measures=[Measure("sharpness", ("layer", "head"), (Column("largest", "largest weight"),), measure_largest)],
)
'''


def load(folder: Path) -> Study:
    path = folder / "small.py"
    path.write_text(STUDY.replace("GO", str(folder / "go")))
    return api.load_study(path)


def interrupt(folder: Path, study: Study, what: Callable[[], object]) -> dict[Path, int]:
    """Do something in a thread once every run waits in its middle, then let them go on.

    The dictionary is filled by then: when each checkpoint in `folder/out` was written.
    """
    folders = [RunFolder.of(folder / "out", cell.run) for cell in study.cells]
    written: dict[Path, int] = {}

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        try:
            while not all(16 in each.checkpoint_steps() for each in folders):
                if time.monotonic() > deadline:
                    return
                time.sleep(0.02)
            what()
            paths = [path for each in folders for path in each.path.glob("checkpoints/????????/manifest.json")]
            written.update({path: path.stat().st_mtime_ns for path in paths})
        finally:  # whatever went wrong: the test fails then, and does not wait for ever
            (folder / "go").touch()

    threading.Thread(target=wait, daemon=True).start()
    return written


def assert_resumed(written: dict[Path, int]) -> None:
    """No run began anew: what was committed before the kill was not committed again."""
    assert len({path.parents[2] for path in written}) == 2, "nothing was killed in the middle of both runs"
    assert {path: path.stat().st_mtime_ns for path in written} == written


def assert_as_here(study: Study, folder: Path) -> None:
    """Records and weights are those of the engine of this machine, bit by bit, and so is the own measure."""
    for here in api.run_study(study, out=folder / "here", device="cpu", processes=1, console=QUIET):
        other = RunFolder(folder / "out" / here.path.name)
        assert_equal_runs(other, here)
        one, two = (each.records().tables["sharpness"]["largest"].to_numpy() for each in (other, here))
        assert_array_equal(one, two)
