"""Options that say what is asked of language models, and the descriptions that they come to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from saltus.errors import SaltusError
from saltus.lm.capabilities.describe import ALLOWED, describe_capability
from saltus.lm.capabilities.prompt_file import describe_prompt_file
from saltus.specs.capabilities import BaseCapabilitySpec
from saltus.specs.criteria import CriterionSpec, read_criterion

Capabilities = Annotated[list[str] | None, typer.Option("--capability", help=f"{ALLOWED}; may be given again.")]
PromptFiles = Annotated[
    list[Path] | None, typer.Option("--prompts", help="A JSONL file of your own prompts; may be given again.")
]
Numbers = Annotated[
    list[str] | None,
    typer.Option("--number", metavar="[NAME:]N", help="How many prompts, of all capabilities or of one."),
]
Lengths = Annotated[
    list[str] | None,
    typer.Option(
        "--length",
        metavar="[NAME:]N",
        help="How long they are: digits or tokens that are repeated, lines of a list, tokens of a passage of text.",
    ),
]
Beginning = Annotated[
    bool, typer.Option("--bos", help="Put the tokenizer's token for the beginning of a text before each prompt.")
]
Criteria = Annotated[
    list[str] | None,
    typer.Option(
        "--criterion",
        metavar="[NAME:]KIND[=LEVEL]",
        help="When a prompt is right, of all capabilities or of one: top-1, margin, probability, rank, loss or "
        "in-context.",
    ),
]


def choose_capabilities(
    names: Sequence[str], files: Sequence[Path], numbers: Sequence[str] = (), lengths: Sequence[str] = ()
) -> tuple[BaseCapabilitySpec, ...]:
    """The capabilities that were asked for, of the number and length of prompts that was asked for."""
    chosen = [*map(describe_capability, names), *map(describe_prompt_file, files)]
    if not chosen:
        raise SaltusError(f"no capability was given; name one with --capability ({ALLOWED}) or --prompts")
    known = [capability.name for capability in chosen]
    changes: dict[str, dict[str, Any]] = {name: {} for name in known}
    for option, texts in (("number", numbers), ("length", lengths)):
        for name, value in _read_each(option, texts, known):
            capability = chosen[known.index(name)]
            key = capability.length_key if option == "length" else "prompts"
            if key is None or key not in type(capability).model_fields:
                others = next((other for other in known if other != name), "copying")
                raise SaltusError(
                    f"{option}: that of the prompts of {name} is fixed; name the capability that is meant, as in "
                    f"--{option} {others}:{value}"
                )
            if not value.isdecimal():
                raise SaltusError(f"{option}: {value!r} was given; write a whole number, as in --{option} 32")
            changes[name][key] = int(value)
    return tuple(
        type(capability)(**{**capability.model_dump(), **changes[capability.name]})
        if changes[capability.name]
        else capability
        for capability in chosen
    )


def choose_criteria(texts: Sequence[str], capabilities: Sequence[BaseCapabilitySpec]) -> tuple[CriterionSpec, ...]:
    """The criteria of capabilities, by texts such as `rank=10` or `copying:rank=10`; none where all are usual."""
    chosen = {capability.name: capability.usual for capability in capabilities}
    for name, kind in _read_each("criterion", texts, list(chosen)):
        chosen[name] = read_criterion(kind)
    return tuple(chosen.values()) if texts else ()


def _read_each(option: str, texts: Sequence[str], known: Sequence[str]) -> list[tuple[str, str]]:
    """Names of capabilities with values, from texts such as `copying:3`, or `3` for all; the last one counts."""
    found: list[tuple[str, str]] = []
    for text in texts:
        name, colon, value = text.rpartition(":")
        if colon and name not in known:
            raise SaltusError(f"{option}: {name!r} is no capability of this scan; there are {', '.join(known)}")
        found += [(each, value) for each in ([name] if colon else known)]
    return found
