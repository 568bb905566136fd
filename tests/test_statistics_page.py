"""The examples of docs/statistics.md, run as they stand, on invented runs and results."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.ingest.files import write, write_old

from saltus import api
from saltus.measure.closed_forms import bound_unseen, count_to_see
from saltus.train.archive import Archive

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "statistics.md").read_text()
TIMES = {"70m": 9, "160m": 6, "410m": 4, "1.4b": 2}

Saltus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def evals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of four sizes, twice each, in the schema of Pythia's; larger ones are sooner, the second of two later."""
    for size, time in TIMES.items():
        for late, kind in enumerate(("", "-deduped")):
            for at in range(16):
                accuracy = (0.05, 0.25, 0.45)[(at >= time + 3 * late - 1) + (at >= time + 3 * late)]
                path = tmp_path / "evals" / f"pythia-{size}{kind}" / "zero-shot" / f"{size}{kind}_step{at}000.json"
                results = {"lambada_openai": {"acc": accuracy, "acc_stderr": 0.01}}
                write_old(path, f"EleutherAI/pythia-v1.1-{size}{kind}", at * 1000, results)
    monkeypatch.chdir(tmp_path)


def list_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("evals")
def test_the_commands_of_the_page_run(saltus: Saltus, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("demo", "again"):
        rows = [
            f"{name},{seed},{step},{float(step >= time)}"
            for seed, time in enumerate(500 * np.exp(0.3 * generator.normal(size=8)))
            for step in range(0, 2001, 20)
        ]
        path = write(tmp_path / f"{name}.csv", "\n".join(("group,seed,step,accuracy", *rows)))
        api.read(path, name=name)
    for place in range(3):
        rows = [
            f"map {place},{seed},row {row},{step},{float(step >= time)}"
            for (seed, row), time in np.ndenumerate(500 * np.exp(0.3 * generator.normal(size=(2, 3))))
            for step in range(0, 2001, 20)
        ]
        path = write(tmp_path / f"map-{place}.csv", "\n".join(("group,seed,unit,step,accuracy", *rows)))
        api.read(path, name=f"map-{place}")
    said: list[str] = []
    lines = [line for block in list_blocks("sh") for line in block.splitlines()]
    assert len(lines) == 10
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        if arguments == ["demo"]:
            continue  # it trains for two minutes; its folder is the invented one
        code, out, error = saltus(*arguments)
        assert (program, code, error) == ("saltus", 0, ""), f"{line}: {error}"
        said.append(" ".join(out.split()))
    assert "29 seeds" in said[1]
    assert "With 8 against 8 seeds" in said[4]
    assert "3 groups, 6 seeds, 9 units, 18 of 18 emerged" in said[5]
    for out in said[-2:]:
        assert re.search(r"8 runs of 4 sizes, 8 of which emerged: steps go as size to the power of -\d", out)


def test_the_python_of_the_page_says_that_three_cannot_tell(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = list_blocks("python")
    exec(compile(block, "statistics.md", "exec"), {})
    three, sixteen = capsys.readouterr().out.splitlines()
    assert "With 3 against 3 seeds no difference could be shown at all (the median step of second is 3.8" in three
    assert "With 8 against 8 seeds a difference is not shown" in sixteen


def test_the_split_of_the_page_is_that_of_the_kept_records() -> None:
    archive = Archive(ROOT / "results" / "records")
    specs = {spec.name: spec for spec in archive.list_specs()}
    names = ("jumps-near", "jumps-near-map-1", "jumps-near-map-2")
    runs = [records.curves.until(2_500) for name in names if (records := archive.find(specs[name])) is not None]
    found = api.split(*runs)
    assert (found.maps, found.seeds) == (3, 6)
    assert f"{found.events} of {found.units} rows emerged" in PAGE
    assert found.agreement is not None
    assert f"by a correlation of {found.agreement.value:.2f})".replace("0.", ".") in PAGE
    table = re.findall(r"^\| (\w+) \| (\d+)% \[(\d+)%, (\d+)%\] \|$", PAGE, re.MULTILINE)
    assert [part for part, *_ in table] == list(found.shares)
    for part, *numbers in table:
        share = found.shares[part]
        told = [int(number) / 100 for number in numbers]
        assert told == pytest.approx([share.value, share.lower, share.upper], abs=0.006), part


def test_the_numbers_of_the_page_are_those_of_the_closed_forms() -> None:
    assert f"{bound_unseen(10):.0%} of all seeds still may" in PAGE
    assert f"tenth of\n  the seeds takes {count_to_see(0.1)}" in PAGE
