r"""The user's own prompts, from a file with one JSON object a line.

{"prompt": "The capital of France is", "target": " Paris", "foil": [" London", " Rome"], "category": "Europe"}

`foil` is one wrong answer or several, `id` a name of the prompt, `category` the part of the file that it belongs to.
Lines of white space alone are skipped, and so is a byte order mark, which some editors put first.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.files import decode, read_bounded, require_unchanged
from saltus.lm.capabilities.tokens import encode_prompt, shorten
from saltus.specs.capabilities import PromptFileSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_BYTES = 100_000_000
MOST_PROMPTS = 100_000

_TEXTS = ("prompt", "target", "id", "category")
_KEYS = ("prompt", "target", "foil", "id", "category")
_NEEDED = ("prompt", "target")


@dataclass(frozen=True)
class Line:
    """One prompt as the file has it; what it lacks is empty."""

    where: str
    prompt: str
    target: str
    foils: tuple[str, ...]
    id: str
    category: str


class PromptFile:
    """Prompts of a file, named after it."""

    def __init__(self, spec: PromptFileSpec) -> None:
        self.name = spec.name
        self._spec = spec

    def prompts(self, tokenizer: "PreTrainedTokenizerBase", generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`; nothing is drawn."""
        content = read_bounded(Path(self._spec.path), MOST_BYTES, "a file of prompts")
        require_unchanged(self._spec.path, content, self._spec.sha256)
        return [
            replace(
                encode_prompt(tokenizer, self.name, line.prompt, line.target, line.foils),
                id=line.id,
                category=line.category,
            )
            for line in _parse(Path(self._spec.path), content)
        ]


def describe_prompt_file(path: Path) -> PromptFileSpec:
    """The spec of a prompt file as it is now, which is checked."""
    content = read_bounded(path, MOST_BYTES, "a file of prompts")
    for _ in _parse(path, content):
        pass
    return PromptFileSpec(path=str(path), sha256=hashlib.sha256(content).hexdigest())


def warn_of_joined_words(spec: PromptFileSpec) -> str:
    """A sentence on the prompts whose last word the target or a foil would make longer; empty where there are none.

    Only letters that have a case are looked at: not every script puts a space between words.
    """
    path = Path(spec.path)
    joined = [
        f"{line.where}, {shorten(line.prompt)} and {answer!r}"
        for line in _parse(path, read_bounded(path, MOST_BYTES, "a file of prompts"))
        for answer in (line.target, *line.foils)
        if _has_case(line.prompt[-1]) and _has_case(answer[0])
    ]
    if not joined:
        return ""
    more = f", and {len(joined) - 1:,} more" if len(joined) > 1 else ""
    return f"no space joins the words of {joined[0]}{more}; begin the answer with a space if it is a word of its own"


def _has_case(letter: str) -> bool:
    return letter.lower() != letter.upper()


def _parse(path: Path, content: bytes) -> Iterator[Line]:
    """The lines that hold a prompt; one at a time, for there may be very many."""
    count, ids = 0, dict[str, int]()
    for number, line in enumerate(decode(path, content).split("\n"), start=1):
        if not line.strip():
            continue
        count += 1
        if count > MOST_PROMPTS:
            raise SaltusError(f"{path} has more than {MOST_PROMPTS:,} prompts, the most that is allowed; split it")
        found = _parse_line(f"{path}:{number}", line)
        if found.id and ids.setdefault(found.id, number) != number:
            raise SaltusError(
                f"{found.where}: the id {found.id!r} is that of line {ids[found.id]} too; each prompt has its own"
            )
        yield found
    if not count:
        raise SaltusError(f"{path} is empty; give one JSON object a line, with prompt and target")


def _parse_line(where: str, line: str) -> Line:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SaltusError(f"{where}: this is no JSON ({error}); give one JSON object a line") from None
    if not isinstance(values, dict):
        raise SaltusError(f"{where}: this is no JSON object; give one with prompt and target")
    for key in values:
        if key not in _KEYS:
            raise SaltusError(f"{where}: there is no key {key!r}; allowed are {', '.join(_KEYS)}")
    values = {key: value for key, value in values.items() if value is not None or key in _NEEDED}
    foil: Any = values.get("foil", [])
    foils: list[Any] = foil if isinstance(foil, list) else [foil]
    texts = [(key, values[key]) for key in _TEXTS if key in values] + [("foil", each) for each in foils]
    for key, value in texts:
        if not isinstance(value, str) or not value:
            raise SaltusError(f"{where}: {key} is {json.dumps(value)[:80]}; allowed is text that is not empty")
    for key in _NEEDED:
        if key not in values:
            raise SaltusError(f"{where}: the key {key!r} is missing; every line needs prompt and target")
    for key in ("id", "category"):
        if not values.get(key, "").isprintable():
            raise SaltusError(f"{where}: {key} is {json.dumps(values[key])[:80]}; allowed is text that can be printed")
    if re.fullmatch(r"prompt \d+", category := values.get("category", "")):
        raise SaltusError(
            f"{where}: category is {category!r}, as a single prompt is called; call it {category[7:]!r}, for one"
        )
    if values["target"] in foils:
        raise SaltusError(f"{where}: foil and target are both {values['target']!r}; give a wrong answer as foil")
    return Line(where, values["prompt"], values["target"], tuple(foils), values.get("id", ""), category)
