"""Tasks of lm-evaluation-harness as capabilities: what the harness makes of a task is asked, and scored as it does.

Text and answer are split into tokens as the harness splits them (`TemplateLM._encode_pair` of lm_eval/api/model.py):
spaces at the end of the text go to the answer, and nothing is put before the text; where the text is empty, the token
for the beginning of a text, or else for its end, takes its place. A choice is scored by the sum over its tokens, so a
margin above 0 is what the harness counts as `acc`, up to ties, and top-1 what it counts as greedy.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import astuple, dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from saltus.errors import SaltusError
from saltus.extras import require_extra
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.tokens import shorten
from saltus.specs.capabilities import LmEvalSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_DOCUMENTS = 4096

_Requests = Literal["multiple_choice", "loglikelihood"]
_REFUSED = {
    "generate_until": "lets the model write, which takes another pass for each token; choose a task of choices",
    "loglikelihood_rolling": "scores whole texts; give such a text by itself, as in --capability text:FILE",
}


@dataclass(frozen=True)
class Document:
    """What the harness asks about one document."""

    number: int
    context: str
    target: str
    foils: tuple[str, ...]
    """The other choices; empty where there are none."""


class LmEval:
    """The first documents of a task, named after it."""

    def __init__(self, spec: LmEvalSpec) -> None:
        self.name = spec.name
        self._spec = spec

    def prompts(self, tokenizer: "PreTrainedTokenizerBase", generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`; nothing is drawn."""
        _, documents = read_documents(self._spec.task)
        if hash_documents(documents) != self._spec.sha256:
            raise SaltusError(
                f"the task {self._spec.task} asks other things than when the scan was described; undo the change of "
                "its file or of lm_eval, or describe a new scan with it"
            )
        return [encode_document(tokenizer, self.name, document) for document in documents[: self._spec.prompts]]


def describe_task(task: str) -> LmEvalSpec:
    """The spec of a task of the harness, by its name or by the path of its YAML file, as it is now."""
    requests, documents = read_documents(task)
    return LmEvalSpec(task=task, requests=requests, sha256=hash_documents(documents))


def hash_documents(documents: Sequence[Document]) -> str:
    """Of all that is asked."""
    return hashlib.sha256(json.dumps([astuple(document) for document in documents]).encode()).hexdigest()


def encode_document(tokenizer: "PreTrainedTokenizerBase", capability: str, document: Document) -> Prompt:
    """A prompt as the harness would ask it.

    Raises:
        SaltusError: if an answer adds no token to the text.

    """
    context = document.context.rstrip()
    moved = document.context[len(context) :]
    tokens = tokenizer.encode(context, add_special_tokens=False)

    def continue_by(answer: str) -> tuple[int, ...]:
        whole = tokenizer.encode(f"{context}{moved}{answer}", add_special_tokens=False)
        if len(whole) <= len(tokens):
            raise SaltusError(
                f"{capability}: after {shorten(context)} the answer {answer!r} adds no token of its own; leave this "
                "task out, or scan a suite with another tokenizer"
            )
        return tuple(whole[len(tokens) :])

    answers = [continue_by(answer) for answer in (document.target, *document.foils)]
    if not tokens:
        special = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        tokens = [token for token in special if isinstance(token, int)][:1]
    if not tokens:
        raise SaltusError(
            f"{capability}: document {document.number} has no text before its answer and the tokenizer has no special "
            "token to begin with; leave this task out, or scan a suite with another tokenizer"
        )
    return Prompt(
        context, tuple(tokens), answers[0], moved + document.target, tuple(answers[1:]), id=str(document.number)
    )


def read_documents(task: str) -> tuple[_Requests, list[Document]]:
    """What the harness asks of a task: the kind of its requests, and its documents, at most `MOST_DOCUMENTS`.

    Raises:
        SaltusError: if the harness is not installed or cannot load the task, or it is none that can be asked here.

    """
    require_extra("lm-eval", f"the task {task}")
    loaded = _load(task)
    kind = str(loaded.OUTPUT_TYPE)
    if kind in _REFUSED:
        raise SaltusError(f"the task {task} {_REFUSED[kind]}")
    if kind not in ("multiple_choice", "loglikelihood") or getattr(loaded, "multiple_input", 0):
        raise SaltusError(
            f"the task {task} asks for {kind} with several texts for one answer; choose a task with one text and "
            "several choices"
        )
    asked: dict[int, list[Any]] = {}
    try:
        with redirect_stderr(StringIO()):  # its bars
            loaded.build_all_requests(limit=MOST_DOCUMENTS, rank=0, world_size=1)
        for instance in loaded.instances:
            asked.setdefault(int(instance.doc_id), []).append(instance)
        documents = [_read_document(loaded, number, instances) for number, instances in sorted(asked.items())]
    except SaltusError:
        raise
    except Exception as error:  # noqa: BLE001 - a task is anybody's
        raise SaltusError(f"the task {task} cannot be asked ({_shorten(error)}); try it with lm_eval itself") from None
    return kind, documents  # pyright: ignore[reportReturnType]  # one of the two


def _read_document(task: Any, number: int, instances: Sequence[Any]) -> Document:
    pairs = [instance.args[:2] for instance in sorted(instances, key=lambda instance: instance.idx)]
    if task.OUTPUT_TYPE == "loglikelihood":
        return Document(number, str(pairs[0][0]), str(pairs[0][1]), ())
    doc = instances[0].doc
    choices, right = task.doc_to_choice(doc), task.doc_to_target(doc)
    right = choices.index(right) if isinstance(right, str) and right in choices else right
    if not isinstance(right, int) or not 0 <= right < len(choices):
        raise SaltusError(
            f"document {number} of the task {task.config.task} has {right!r} for the number of its right choice; only "
            "tasks with exactly one can be asked"
        )
    answers = [str(answer) for _, answer in pairs[: len(choices)]]  # what follows is without a text, for other scores
    return Document(number, str(pairs[0][0]), answers.pop(right), tuple(answers))


def _load(task: str) -> Any:
    """The harness's own object of one task."""
    path = Path(task)
    own = path.suffix == ".yaml"
    try:
        with redirect_stderr(StringIO()):
            manager: Any = import_module("lm_eval.tasks").TaskManager(
                include_path=str(path.parent) if own else None, include_defaults=not own
            )
            source: Any = import_module("lm_eval.tasks._yaml_loader").load_yaml(path) if own else task
            tasks: dict[str, Any] = manager.load([source])["tasks"]
    except Exception as error:  # noqa: BLE001 - a task is anybody's
        raise SaltusError(
            f"lm_eval cannot load the task {task} ({_shorten(error)}); give the name of a task (lm_eval ls tasks), or "
            "the path of its YAML file"
        ) from None
    if len(tasks) != 1:
        raise SaltusError(
            f"{task} is a group of {len(tasks)} tasks; name one of them, such as {min(tasks, default='none')}"
        )
    return next(iter(tasks.values()))


def _shorten(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
