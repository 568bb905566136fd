"""A capability by a text, as on the command line: its name, or where it is, such as `text:FILE`."""

from collections.abc import Callable
from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.capabilities.lm_eval import describe_task
from saltus.lm.capabilities.text import describe_text
from saltus.specs.capabilities import BaseCapabilitySpec, list_named

_SOURCES: dict[str, tuple[str, Callable[[str], BaseCapabilitySpec]]] = {
    "text": ("FILE", lambda rest: describe_text(Path(rest))),
    "lm_eval": ("TASK", describe_task),
}
"""By what stands before the colon, what stands after it, and what makes a description of that."""

ALLOWED = ", ".join([*list_named(), *(f"{kind}:{what}" for kind, (what, _) in _SOURCES.items())])
"""What may be given, for messages and help."""


def describe_capability(text: str) -> BaseCapabilitySpec:
    """The description of a capability such as `copying`, `text:FILE` or `lm_eval:TASK`.

    Raises:
        SaltusError: if there is none, or its file or task cannot be read.

    """
    kind, colon, rest = text.partition(":")
    named = list_named()
    if text in named:
        return named[text]
    if kind not in _SOURCES or not colon or not rest:
        raise SaltusError(f"capability: there is no {text!r}; allowed are {ALLOWED}")
    return _SOURCES[kind][1](rest)
