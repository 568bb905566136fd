"""Tasks of lm-evaluation-harness: what saltus makes of them with a stand-in, and with the harness where it is there."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from tests.lm.tiny_suite import make_model, make_pair_tokenizer, make_word_tokenizer

from saltus import extras
from saltus.errors import SaltusError
from saltus.lm.capabilities import lm_eval
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.capabilities.describe import describe_capability
from saltus.lm.capabilities.lm_eval import Document, encode_document
from saltus.lm.scanning.probe import probe
from saltus.specs.capabilities import LmEvalSpec

DOCUMENTS: list[dict[str, Any]] = [
    {"question": "Mary and John went to the", "choices": ["store", "park"], "right": 0},
    {"question": "Paul and Sarah met at the", "choices": ["store", "park", "drink"], "right": 1},
]


@dataclass
class Task:
    """As much of a task of the harness as is used."""

    OUTPUT_TYPE: str = "multiple_choice"
    unconditional: bool = False
    """Whether the choices are asked without the question too, as for acc_mutual_info."""
    multiple_input: int = 0
    instances: list[Any] = field(default_factory=list[Any])
    config: Any = field(default_factory=lambda: SimpleNamespace(task="store"))

    def doc_to_choice(self, doc: dict[str, Any]) -> list[str]:
        return doc["choices"]

    def doc_to_target(self, doc: dict[str, Any]) -> int:
        return doc["right"]

    def build_all_requests(self, limit: int, rank: int, world_size: int) -> None:
        for number, doc in enumerate(DOCUMENTS[:limit]):
            pairs = [(doc["question"], f" {choice}") for choice in doc["choices"]]
            pairs += [("", f" {choice}") for choice in doc["choices"]] if self.unconditional else []
            pairs = pairs[:1] if self.OUTPUT_TYPE == "loglikelihood" else pairs
            self.instances += [
                SimpleNamespace(doc=doc, doc_id=number, idx=idx, args=pair) for idx, pair in enumerate(pairs)
            ][::-1]


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Tasks by name, which the stand-in of the harness knows."""
    tasks: dict[str, Any] = {"store": Task()}

    class TaskManager:
        def __init__(self, include_path: str | None, include_defaults: bool) -> None: ...

        def load(self, names: list[str]) -> dict[str, Any]:
            found = tasks[names[0]]
            return {"tasks": found if isinstance(found, dict) else {names[0]: found}}

    module = ModuleType("lm_eval.tasks")
    module.__dict__["TaskManager"] = TaskManager
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", module)
    monkeypatch.setattr(lm_eval, "require_extra", Mock())
    return tasks


@pytest.mark.parametrize("unconditional", [False, True])
def test_choices_become_target_and_foils(harness: dict[str, Any], unconditional: bool) -> None:
    harness["store"] = Task(unconditional=unconditional)
    spec, tokenizer = describe_capability("lm_eval:store"), make_pair_tokenizer()
    harness["store"] = Task(unconditional=unconditional)
    assert (spec.name, spec.usual.kind) == ("store", "margin")
    first, second = make_prompts(spec, tokenizer, 0)
    assert (first.text, first.target_text, first.id) == ("Mary and John went to the", " store", "0")
    read = [[tokenizer.decode(list(answer)) for answer in (p.target, *p.foils)] for p in (first, second)]
    assert read == [[" store", " park"], [" park", " store", " drink"]]


def test_a_task_that_asks_something_else_now_is_refused(
    harness: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = describe_capability("lm_eval:store")
    monkeypatch.setitem(DOCUMENTS[0], "question", "Anna and Tom went to the")
    harness["store"] = Task()
    with pytest.raises(SaltusError, match="the task store asks other things than when the scan was described"):
        make_prompts(spec, make_pair_tokenizer(), 0)


def test_a_single_answer_has_no_foil(harness: dict[str, Any]) -> None:
    harness["store"] = Task(OUTPUT_TYPE="loglikelihood")
    spec = describe_capability("lm_eval:store")
    harness["store"] = Task(OUTPUT_TYPE="loglikelihood")
    assert spec.usual.kind == "top-1"
    assert [(p.target_text, p.foils) for p in make_prompts(spec, make_pair_tokenizer(), 0)] == [(" store", ())] * 2


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (Task(OUTPUT_TYPE="generate_until"), "the task store lets the model write"),
        (Task(OUTPUT_TYPE="loglikelihood_rolling"), "the task store scores whole texts; give such a text by itself"),
        (Task(multiple_input=2), "asks for multiple_choice with several texts for one answer"),
        ({"a": Task(), "b": Task()}, "store is a group of 2 tasks; name one of them, such as a"),
        (None, "the task store cannot be asked"),
    ],
)
def test_what_cannot_be_asked(task: Any, says: str, harness: dict[str, Any]) -> None:
    harness["store"] = task if task else SimpleNamespace(OUTPUT_TYPE="multiple_choice")
    with pytest.raises(SaltusError, match=says):
        describe_capability("lm_eval:store")
    with pytest.raises(SaltusError, match="lm_eval cannot load the task magic"):
        describe_capability("lm_eval:magic")


def test_several_right_choices_are_refused(harness: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOCUMENTS[1], "right", [0, 1])
    with pytest.raises(
        SaltusError, match=r"document 1 of the task store has \[0, 1\] for the number of its right choice"
    ):
        describe_capability("lm_eval:store")


def test_text_and_answer_are_split_as_the_harness_does() -> None:
    """Spaces at the end go to the answer; a text that is empty is a special token; an answer has tokens of its own."""
    tokenizer = make_pair_tokenizer()
    plain = encode_document(tokenizer, "x", Document(0, "Mary and", " John", (" Tom",)))
    moved = encode_document(tokenizer, "x", Document(0, "Mary and ", "John", ("Tom",)))
    assert (plain.tokens, plain.target, plain.foils) == (moved.tokens, moved.target, moved.foils)
    assert encode_document(tokenizer, "x", Document(0, "", "John", ())).tokens == (tokenizer.bos_token_id,)
    with pytest.raises(SaltusError, match="x: document 3 has no text before its answer"):
        encode_document(make_word_tokenizer(), "x", Document(3, "", "1", ()))
    with pytest.raises(SaltusError, match="the answer '' adds no token"):
        encode_document(tokenizer, "x", Document(0, "Mary", "", ()))


def test_without_the_harness_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", Mock(return_value=None))
    with pytest.raises(SaltusError, match=r"the task store needs lm_eval, .*: pip install 'saltus\[lm-eval\]'"):
        describe_capability("lm_eval:store")


@pytest.mark.filterwarnings("ignore")  # of the harness and what it imports
def test_a_local_task_of_the_harness_itself(tmp_path: Path) -> None:
    """Right is what its own metric says from the same log probabilities."""
    pytest.importorskip("lm_eval", reason="saltus[lm-eval] is not installed, which takes long")
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, DOCUMENTS * 4)))
    (tmp_path / "store.yaml").write_text(
        "task: store\ndataset_path: json\n"
        f"dataset_kwargs:\n  data_files:\n    test: {tmp_path / 'data.jsonl'}\n"
        'test_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{question}}"\n'
        'doc_to_choice: "{{choices}}"\ndoc_to_target: "{{right}}"\nmetric_list:\n  - metric: acc\n'
    )
    spec = describe_capability(f"lm_eval:{tmp_path / 'store.yaml'}")
    assert isinstance(spec, LmEvalSpec)
    prompts = make_prompts(spec, make_pair_tokenizer(), 0)
    assert [(p.text, p.target_text, len(p.foils)) for p in prompts[:2]] == [
        ("Mary and John went to the", " store", 1),
        ("Paul and Sarah met at the", " park", 2),
    ]
    margin = probe(make_model(6, 600), prompts, 8).margin
    task = lm_eval._load(str(tmp_path / "store.yaml"))  # pyright: ignore[reportPrivateUsage]
    for doc, prompt, above in zip(DOCUMENTS, prompts, margin > 0.0, strict=False):
        alone = probe(make_model(6, 600), [Prompt("", prompt.tokens, a, "") for a in (prompt.target, *prompt.foils)], 8)
        scores = list(zip(alone.probability, alone.correct, strict=True))
        ordered = [*scores[1:]]
        ordered.insert(doc["right"], scores[0])
        assert task.process_results(doc, ordered)["acc"] == float(above)
