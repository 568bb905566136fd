"""The pair of checkpoints to patch across."""

from pathlib import Path

import pyarrow as pa
import pytest
from saltus.lm.records import SCAN_TABLES, ScanRecords

from saltus.measure.jumps import Jump, find_jump, find_largest_jump
from saltus.specs.capabilities import RepetitionSpec
from saltus.specs.checkpoints import ScanSpec


def record(probabilities: dict[str, dict[int, tuple[float, float]]]) -> ScanRecords:
    """By seed and step, the probabilities of two prompts."""
    probes = [
        {"size": "s", "seed": seed, "step": step, "capability": "repetition", "prompt": prompt, "probability": value}
        for seed, steps in probabilities.items()
        for step, values in steps.items()
        for prompt, value in enumerate(values)
    ]
    runs = [{"size": "s", "seed": seed, "steps": list(steps)} for seed, steps in probabilities.items()]
    tables = {name: schema.empty_table() for name, schema in SCAN_TABLES.items()}
    tables["probes"] = pa.Table.from_pylist(probes, schema=SCAN_TABLES["probes"])
    tables["runs"] = pa.Table.from_pylist(runs, schema=SCAN_TABLES["runs"])
    spec = ScanSpec(suite="folder:x", capabilities=(RepetitionSpec(),))
    return ScanRecords(Path("x"), spec, finished=True, **tables)


SLOW = {8: (0.5, 0.7), 0: (0.1, 0.1), 2: (0.2, 0.2), 4: (0.3, 0.5)}  # rises by .1, .2, .2 in the order of steps
FALLING = {0: (0.9, 0.9), 1: (0.5, 0.7), 2: (0.5, 0.7)}
ABRUPT = {0: (0.0, 0.1), 64: (0.0, 0.1), 128: (0.9, 0.8)}


def test_the_first_largest_rise_between_neighbours_is_the_jump() -> None:
    found = find_jump(record({"0": SLOW}), "s", "0", "repetition")
    assert found == Jump("s", "0", 2, 4, pytest.approx(0.2))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("run", [FALLING, {0: (0.5, 0.5)}, {}])
def test_without_a_rise_there_is_no_jump(run: dict[int, tuple[float, float]]) -> None:
    assert find_largest_jump(record({"0": run}), "repetition") is None


def test_the_largest_of_all_runs() -> None:
    found = find_largest_jump(record({"0": SLOW, "1": ABRUPT, "2": FALLING}), "repetition")
    assert found == Jump("s", "1", 64, 128, pytest.approx(0.8))  # pyright: ignore[reportArgumentType]
