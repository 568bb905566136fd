"""What a file of prompts may hold besides prompt and target, from the line to the units of a scan."""

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from rich.console import Console
from tests.lm.tiny_suite import make_model, make_pair_tokenizer, make_word_tokenizer, save_checkpoint, teach

from saltus import api
from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.capabilities.prompt_file import describe_prompt_file, warn_of_joined_words
from saltus.lm.scanning.probe import probe
from saltus.specs.capabilities import PromptFileSpec
from saltus.specs.checkpoints import ScanSpec

WORDS = make_word_tokenizer()


def write(path: Path, *lines: dict[str, Any]) -> PromptFileSpec:
    path.write_text("\n".join(map(json.dumps, lines)))
    return describe_prompt_file(path)


def test_ids_categories_and_several_foils(tmp_path: Path) -> None:
    spec = write(
        tmp_path / "mine.jsonl",
        {"prompt": "1 2", "target": " 3", "foil": [" 4", " 5 6"], "id": "first", "category": "up"},
        {"prompt": "3 2", "target": " 1", "foil": " 4"},
    )
    first, second = make_prompts(spec, make_word_tokenizer(), 0)
    assert (first.foils, first.id, first.category) == (((4,), (5, 6)), "first", "up")
    assert (second.foils, second.id, second.category) == (((4,),), "", "")


def test_a_foil_that_is_the_target_to_the_tokenizer_is_refused(tmp_path: Path) -> None:
    """Its margin would be 0, whatever the model knows."""
    spec = write(tmp_path / "mine.jsonl", {"prompt": "1 2", "target": " 3", "foil": [" 4", "  3"]})
    with pytest.raises(SaltusError, match=r"the target ' 3' and the foil '  3' are the same tokens; give a foil that"):
        make_prompts(spec, make_word_tokenizer(), 0)


def test_optional_keys_may_be_null_and_needed_ones_not(tmp_path: Path) -> None:
    nothing = {"foil": None, "id": None, "category": None}
    (prompt,) = make_prompts(write(tmp_path / "a.jsonl", {"prompt": "1 2", "target": " 3"} | nothing), WORDS, 0)
    assert (prompt.foils, prompt.id, prompt.category) == ((), "", "")
    with pytest.raises(SaltusError, match=r"b\.jsonl:1: target is null; allowed is text that is not empty"):
        write(tmp_path / "b.jsonl", {"prompt": "1 2", "target": None})


@pytest.mark.parametrize("key", ["id", "category"])
@pytest.mark.parametrize("text", ["x\x1b[31m", "\ud800", "two\nlines"])
def test_names_that_a_terminal_obeys_or_no_file_holds_are_refused(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(SaltusError, match=rf"a\.jsonl:1: {key} is .*; allowed is text that can be printed"):
        write(tmp_path / "a.jsonl", {"prompt": "1 2", "target": " 3", key: text})


def test_a_category_is_not_called_as_a_prompt_is(tmp_path: Path) -> None:
    with pytest.raises(SaltusError, match=r"a\.jsonl:1: category is 'prompt 1', as a single prompt is called; call"):
        write(tmp_path / "a.jsonl", {"prompt": "1 2", "target": " 3", "category": "prompt 1"})
    write(tmp_path / "b.jsonl", {"prompt": "1 2", "target": " 3", "category": "prompt one"})


def test_the_margin_is_over_the_most_probable_foil_whatever_their_lengths() -> None:
    """Each answer by the sum of the log probabilities of its tokens, each asked alone."""
    model = make_model(3, layers=2)
    foils = ((4,), (5, 6), (7, 8, 9))
    together = probe(model, [Prompt("", (1, 2, 3), (10, 11), "", foils)], 8).margin
    target, *others = (
        np.log(probe(model, [Prompt("", (1, 2, 3), answer, "")], 8).probability[0]) for answer in ((10, 11), *foils)
    )
    assert_allclose(together, [target - max(others)], rtol=1e-5)
    shortest_alone = probe(model, [Prompt("", (1, 2, 3), (10, 11), "", foils[:1])], 8).margin
    longest_alone = probe(model, [Prompt("", (1, 2, 3), (10, 11), "", foils[2:])], 8).margin
    assert together[0] == min(shortest_alone[0], longest_alone[0]) == shortest_alone[0] < longest_alone[0]


def test_a_category_is_a_set_of_its_own(tmp_path: Path) -> None:
    """Counting up is learned and counting down is not, of which there are more."""
    up = [{"prompt": f"{n} {n + 1}", "target": f" {n + 2}", "category": "up", "id": f"up {n}"} for n in range(2)]
    down = [{"prompt": f"{n} {n - 1}", "target": f" {n - 2}", "category": "down"} for n in range(5, 9)]
    spec = write(tmp_path / "counting.jsonl", *up, *down)
    tokenizer, able = make_word_tokenizer(), make_model(1)
    teach(able, make_prompts(spec, tokenizer, 0)[:2])
    for step, model in ((0, make_model()), (1, able)):
        save_checkpoint(tmp_path / "m" / f"step{step}", model, tokenizer)
    asked = ScanSpec(suite=f"folder:{tmp_path / 'm'}", capabilities=(spec,), strategy="grid")
    folder = api.scan(asked, out=tmp_path, device="cpu", console=Console(quiet=True))
    found = {item.key.unit: item for item in folder.records().find_emergences()}
    assert found["counting.jsonl, up"].by == 1
    assert found["counting.jsonl, down"].censored
    assert found["counting.jsonl"].censored
    assert folder.records().prompts["id"].to_pylist() == ["up 0", "up 1", None, None, None, None]
    console = Console(record=True, width=200, file=StringIO())
    api.show(folder, console)
    text = console.export_text()
    assert "counting.jsonl, up" in text
    assert "0 of 4" in text.split("counting.jsonl, down")[1]  # its prompts alone are counted
    cells = re.findall(r"<td[^>]*>\s*(up|down|the set)\s*</td>", api.report([folder], tmp_path / "x.html").read_text())
    assert cells == ["the set", "up", "down"]


def test_words_without_a_space_between_them_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    good = {"prompt": "Mary and", "target": " John"}
    no_words = [{"prompt": "日本の", "target": "首都"}, {"prompt": "3", "target": "4"}, {"prompt": "(", "target": "a"}]
    assert warn_of_joined_words(write(path, good, *no_words)) == ""
    joined = {"prompt": "Mary and", "target": " John", "foil": ["Tom"]}
    assert warn_of_joined_words(write(path, good, joined, {"prompt": "to", "target": "the"})) == (
        f"no space joins the words of {path}:2, 'Mary and' and 'Tom', and 1 more; begin the answer with a space if it "
        "is a word of its own"
    )


def test_the_warning_is_said_before_a_scan(tmp_path: Path) -> None:
    spec = write(tmp_path / "mine.jsonl", {"prompt": "to", "target": "m"})
    save_checkpoint(tmp_path / "m" / "step0", make_model(vocabulary=600), make_pair_tokenizer())
    console = Console(record=True, width=200, file=StringIO())
    api.scan(
        ScanSpec(suite=f"folder:{tmp_path / 'm'}", capabilities=(spec,)), out=tmp_path, device="cpu", console=console
    )
    assert "mine.jsonl: no space joins the words of" in console.export_text()


def test_a_hundred_thousand_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f'{{"prompt": "a {n}", "target": " b", "id": "{n}"}}\n\n' for n in range(100_000)))
    assert describe_prompt_file(path).name == "mine.jsonl"
