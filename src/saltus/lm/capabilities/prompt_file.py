r"""The user's own prompts, from a file with one JSON object a line.

{"prompt": "The capital of France is", "target": " Paris", "foil": " London"}

Lines of white space alone are skipped, and so is a byte order mark, which some editors put first.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saltus.errors import SaltusError
from saltus.lm.capabilities.base import Prompt
from saltus.lm.capabilities.tokens import encode_prompt
from saltus.specs.capabilities import PromptFileSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_BYTES = 10_000_000
MOST_PROMPTS = 4096


class PromptFile:
    """Prompts of a file, named after it."""

    def __init__(self, spec: PromptFileSpec) -> None:
        self.name = Path(spec.path).name
        self._spec = spec

    def prompts(self, tokenizer: "PreTrainedTokenizerBase", generator: np.random.Generator) -> Sequence[Prompt]:
        """See `Capability`; nothing is drawn."""
        path = Path(self._spec.path)
        content = _read(path)
        if hashlib.sha256(content).hexdigest() != self._spec.sha256:
            raise SaltusError(
                f"{path} has changed since the scan was described; undo the change, or describe a new scan with it"
            )
        return [encode_prompt(tokenizer, self.name, **line) for line in _parse(path, content)]


def describe_prompt_file(path: Path) -> PromptFileSpec:
    """The spec of a prompt file as it is now, which is checked."""
    content = _read(path)
    _parse(path, content)
    return PromptFileSpec(path=str(path), sha256=hashlib.sha256(content).hexdigest())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SaltusError(f"{path} cannot be read ({error.strerror}); give the path of a file of prompts") from None
    if len(content) > MOST_BYTES:
        raise SaltusError(f"{path} is larger than {MOST_BYTES:,} bytes, the most that is allowed; split it")
    return content


def _parse(path: Path, content: bytes) -> list[dict[str, str]]:
    """For each line the arguments of `encode_prompt`: text, target and, if there is one, foil."""
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SaltusError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    numbered = {number: line for number, line in enumerate(lines, start=1) if line.strip()}
    if not numbered:
        raise SaltusError(f"{path} is empty; give one JSON object a line, with prompt and target")
    if len(numbered) > MOST_PROMPTS:
        raise SaltusError(f"{path} has {len(numbered):,} prompts; at most {MOST_PROMPTS:,} are allowed, so split it")
    return [_parse_line(f"{path}:{number}", line) for number, line in numbered.items()]


def _parse_line(where: str, line: str) -> dict[str, str]:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SaltusError(f"{where}: this is no JSON ({error}); give one JSON object a line") from None
    if not isinstance(values, dict):
        raise SaltusError(f"{where}: this is no JSON object; give one with prompt and target")
    for key, value in values.items():
        if key not in ("prompt", "target", "foil"):
            raise SaltusError(f"{where}: there is no key {key!r}; allowed are prompt, target and foil")
        if not isinstance(value, str) or not value:
            raise SaltusError(f"{where}: {key} is {json.dumps(value)[:80]}; allowed is text that is not empty")
    for key in ("prompt", "target"):
        if key not in values:
            raise SaltusError(f"{where}: the key {key!r} is missing; every line needs prompt and target")
    if values.get("foil") == values["target"]:
        raise SaltusError(f"{where}: foil and target are both {values['foil']!r}; give a wrong answer as foil")
    return {"text": values.pop("prompt"), **values}
