"""The committed table of architectures says what the code does."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss", "gptj"])
def test_row_is_what_the_code_does(family: str) -> None:
    spec = importlib.util.spec_from_file_location("architectures", ROOT / "benchmarks" / "architectures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "results" / "architectures.md").read_text().splitlines()
    assert module.describe(module.ask(family)) in page
