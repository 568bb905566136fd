"""The examples of docs/own-measure.md and docs/own-capability.md run as they stand."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from tests.lm.tiny_suite import make_model, make_word_tokenizer, save_checkpoint, teach

from saltus import api
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import make_prompts
from saltus.specs import capabilities
from saltus.specs.checkpoints import ScanSpec
from saltus.studies.study import load_study

DOCS = Path(__file__).parents[1] / "docs"

Saltus = Callable[..., tuple[int, str, str]]


def list_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("in_this_process")
def test_the_measure_of_the_page_is_recorded_and_becomes_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study, reading = list_blocks("own-measure.md")
    (tmp_path / "sharp.py").write_text(study.replace("steps=200", "steps=50"))
    loaded = load_study(tmp_path / "sharp.py")
    api.run(loaded.cells[0].run, device="cpu", measures=loaded.measures)
    capsys.readouterr()
    names: dict[str, Any] = {}
    exec(compile(reading, "own-measure.md", "exec"), names)
    assert names["largest"].shape == (2, len(names["records"].evaluated_steps), 1, 4)
    even = (1 / np.arange(1, 16)).mean()  # query q sees q + 1 keys
    assert (names["largest"] > even).all()
    assert (names["largest"] <= 1).all()
    assert [curve.key.unit for curve in names["curves"].select(seed="1")] == [f"head {head}" for head in range(4)]
    assert len(capsys.readouterr().out.splitlines()) == len(names["curves"].emergences())


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of three checkpoints, of which the last can count."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    tokenizer = make_word_tokenizer()
    able = make_model(1)
    teach(able, [Prompt("", (n, n + 1, n + 2), (n + 3,), "") for n in range(7)])
    for step, model in ((0, make_model()), (1, make_model()), (2, able)):
        save_checkpoint(tmp_path / "checkpoints" / "1m" / "0" / f"step{step}", model, tokenizer)


@pytest.mark.usefixtures("checkpoints")
def test_the_file_of_prompts_of_the_page_is_scanned(saltus: Saltus, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(compile(list_blocks("own-capability.md")[0], "own-capability.md", "exec"), names)
    out = capsys.readouterr().out
    assert "counting.jsonl" in out
    (whole,) = [e for e in names["scan"].records().curves.emergences() if e.key.unit == "counting.jsonl"]
    assert (whole.after, whole.by) == (1, 2)
    assert names["margin"][0].values[-1] > max(names["margin"][0].values[:2])
    (line,) = re.findall(r"^```sh\n(.*?)\n```$", (DOCS / "own-capability.md").read_text(), re.MULTILINE | re.DOTALL)
    program, *arguments = line.split()
    code, out, error = saltus(*arguments)
    assert (program, code, error) == ("saltus", 0, "")
    assert "(1, 2]" in out


@pytest.mark.usefixtures("checkpoints")
def test_the_kind_of_the_page_is_one_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    _, code, description = list_blocks("own-capability.md")
    module = ModuleType("saltus.lm.capabilities.counting")
    exec(compile(code, "counting.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = dict(vars(capabilities))
    exec(compile(description, "capabilities.py", "exec"), names)
    counting = names["CountingSpec"]
    assert counting.stream not in {kind.stream for kind in capabilities.CAPABILITIES.values()}
    monkeypatch.setitem(capabilities.CAPABILITIES, "counting", counting)
    prompts = make_prompts(counting(), make_word_tokenizer(), 0)
    assert len(prompts) == 16
    for prompt in prompts:
        assert np.diff([*prompt.tokens, *prompt.target]).tolist() == [1, 1, 1]
        assert prompt.foils == (prompt.tokens[:1],)
    scan = api.scan(ScanSpec(suite="folder:checkpoints", capabilities=(counting(),)), device="cpu")
    (whole,) = [e for e in scan.records().curves.emergences() if e.key.unit == "counting"]
    assert (whole.after, whole.by) == (1, 2)
