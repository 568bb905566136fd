"""The examples of docs/logs.md, and of the README's part on the same, run as they stand, on invented files."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.files import write, write_new

from saltus import Emergences

ROOT = Path(__file__).parents[1]

PAGES = {
    "logs.md": (ROOT / "docs" / "logs.md").read_text(),
    "README.md": (ROOT / "README.md").read_text().split("## Anybody's results")[1].split("\n## ")[0],
}

Saltus = Callable[..., tuple[int, str, str]]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page speaks of: results of two sizes by four seeds, tables of two groups, the export of a history."""
    for size, middle in (("160m", 300), ("410m", 100)):
        for seed in range(4):
            model = f"EleutherAI/pythia-{size}-seed{seed}"
            for step in range(0, 900, 100):
                value = 0.6 if step > middle + 100 * seed else 0.1
                metrics = {"acc,none": value, "acc_stderr,none": 0.02, "perplexity,none": 5.0 / value}
                results: dict[str, dict[str, float]] = dict.fromkeys(("lambada_openai", "piqa"), metrics)
                write_new(
                    tmp_path / "evals" / model.replace("/", "__") / f"results_{step}.json", model, step, results, step
                )
    for name in ("a_0", "a_1", "b_0"):
        write(tmp_path / "logs" / f"{name}.csv", "update,loss\n0,4.0\n100,2.0\n200,1.5\n")
    lines = [{"_step": step, "train/loss": 6.0 - step, "eval/accuracy": step / 4} for step in range(5)]
    write(tmp_path / "history.jsonl", "\n".join(map(json.dumps, lines)))
    monkeypatch.chdir(tmp_path)


def list_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("page", "fewest"), [("logs.md", 12), ("README.md", 4)])
def test_the_commands_of_a_page_run_one_after_the_other(saltus: Saltus, page: str, fewest: int) -> None:
    lines = [line for block in list_blocks(page, "sh") for line in block.splitlines()]
    assert len(lines) >= fewest
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        code, out, error = saltus(*arguments)
        assert (program, code, error) == ("saltus", 0, ""), f"{line}: {error}"
        assert "cannot be read" not in out, line
        emerged = re.search(r"(\d+) of \d+ curves emerged", out)
        assert emerged is None or int(emerged[1]) > 0, line


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page: str) -> None:
    (block,) = list_blocks(page, "python")
    names: dict[str, Any] = {}
    exec(compile(block, page, "exec"), names)
    found: Emergences = names["found"]
    assert (found.groups, found.units) == (["pythia-160m", "pythia-410m"], ["lambada_openai"])
    first = found.group("pythia-410m")[0]
    assert (first.after, first.by) == (100, 200)
