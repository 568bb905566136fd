"""A scan that goes out by run ends as the scan that one process makes."""

import pickle
from pathlib import Path

import pytest
from rich.console import Console
from tests.engines.remote import Remote
from tests.lm.tiny_scans import describe, make_suite, read_tables, save_states

from saltus import api
from saltus.errors import SaltusError
from saltus.lm.scanning.folder import ScanFolder
from saltus.lm.suites.base import UnreachableCheckpoint
from saltus.lm.suites.build import open_suite

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_states(tmp_path_factory.mktemp("states"))


def test_a_scan_by_run_is_the_scan_of_one_process(states: dict[str, Path], tmp_path: Path) -> None:
    spec, suite = describe("robust"), make_suite(states, s8="truncated", s20=None)
    one = api.scan(spec, suite=suite, out=tmp_path / "one", device="cpu", console=QUIET)
    with pytest.raises(SaltusError, match="1 of 2 scans failed, the others are kept: scan of 1m seed 1: the job died"):
        api.scan(spec, suite=suite, out=tmp_path / "many", engine=Remote("scan of 1m seed 1"), console=QUIET)
    fetched = len(suite.fetched)
    engine = Remote()
    many = api.scan(spec, suite=suite, out=tmp_path / "many", engine=engine, console=QUIET)
    assert engine.done == [["scan of 1m seed 1"], ["scan of 1m seed 0"]]
    assert {run.seed for run, _ in suite.fetched[fetched:]} == {"1"}  # what was finished is not measured again
    assert read_tables(many) == read_tables(one)
    assert many.summary()["checkpoints_loaded"] == one.summary()["checkpoints_loaded"]
    assert [each.path for each in ScanFolder.list(tmp_path / "many")] == [many.path]
    assert [path.name for path in (tmp_path / "many").iterdir()] == [many.path.name]
    assert api.scan(spec, suite=suite, out=tmp_path / "many", engine=Remote(), console=QUIET).path == many.path


@pytest.mark.parametrize("name", ["pythia", "polypythias"])
def test_a_suite_of_the_hub_can_be_sent(name: str, tmp_path: Path) -> None:
    suite = open_suite(name, offline=True, disk_bytes=7, cache=tmp_path)
    sent = pickle.loads(pickle.dumps(suite))
    run = suite.runs()[0]
    assert (sent.name, sent.runs(), sent.steps(run)) == (suite.name, suite.runs(), suite.steps(run))
    with pytest.raises(UnreachableCheckpoint, match="offline"):
        sent.fetch(run, 0)
