"""A scan that goes out by run ends as the scan that one process makes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console
from tests.lm.tiny_scans import describe, make_suite, read_tables, save_states

from saltus import api
from saltus.engines.base import Job, Outcome, perform
from saltus.errors import SaltusError
from saltus.lm.scanning.folder import ScanFolder

QUIET = Console(quiet=True)


class Remote:
    """Performs jobs as another process would, the last one first; some of them die."""

    local, device, processes, slots = False, "cpu", 1, None

    def __init__(self, *dying: str) -> None:
        self._dying = dying
        self.names: list[str] = []

    def run(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in reversed(jobs):
            [name] = job.names
            self.names.append(name)
            yield Outcome({name: "it died"}) if name in self._dying else perform(job, Path.cwd())


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_states(tmp_path_factory.mktemp("states"))


def test_a_scan_by_run_is_the_scan_of_one_process(states: dict[str, Path], tmp_path: Path) -> None:
    spec, suite = describe("robust"), make_suite(states, s8="truncated", s20=None)
    one = api.scan(spec, suite=suite, out=tmp_path / "one", device="cpu", console=QUIET)
    with pytest.raises(SaltusError, match="1 of 2 scans failed, the others are kept: scan of 1m seed 1: it died"):
        api.scan(spec, suite=suite, out=tmp_path / "many", engine=Remote("scan of 1m seed 1"), console=QUIET)
    fetched = len(suite.fetched)
    engine = Remote()
    many = api.scan(spec, suite=suite, out=tmp_path / "many", engine=engine, console=QUIET)
    assert engine.names == ["scan of 1m seed 1", "scan of 1m seed 0"]
    assert {run.seed for run, _ in suite.fetched[fetched:]} == {"1"}  # what was finished is not measured again
    assert read_tables(many) == read_tables(one)
    assert many.summary()["checkpoints_loaded"] == one.summary()["checkpoints_loaded"]
    assert [each.path for each in ScanFolder.list(tmp_path / "many")] == [many.path]
    assert [path.name for path in (tmp_path / "many").iterdir()] == [many.path.name]
    assert api.scan(spec, suite=suite, out=tmp_path / "many", engine=Remote(), console=QUIET).path == many.path
