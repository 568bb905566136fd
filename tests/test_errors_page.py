"""The page of errors says what the program says: every message on it is one that the source can make."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import saltus

PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
SOURCE = Path(saltus.__file__).parent

ANYTHING = "\0"
"""Stands for what differs from case to case."""


def list_templates() -> list[str]:
    """Every text of the source, with `ANYTHING` in the place of values; long ones first."""
    templates: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else ANYTHING for v in node.values]
                templates.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                templates.add(node.value)
    return sorted(templates, key=len, reverse=True)


def list_messages(page: str) -> Iterator[str]:
    """The first cell of every row of the tables of messages: what stands between backticks in it."""
    table = False
    for line in page.splitlines():
        if line.startswith("| message"):
            table = True
        elif not line.startswith("|"):
            table = False
        elif table and not line.startswith("|---"):
            cell = line.replace("\\|", "/").split("|")[1].strip()
            yield from re.findall(r"`+ ?(.+?) ?`+(?=[ ,).|]|$)", cell)


def split_message(message: str) -> list[str]:
    """The parts of a message that are the same in every case: capitals and dots stand for what differs."""
    parts = re.split(r"…|\b\w*Spec\b(?:\.\w+)?:?|\b[A-Z]+(?:[.:][A-Z]+)*\b(?!')|`", message)
    return [part.strip(" :;,.()'") for part in parts if len(part.strip(" :;,.()'")) > 2]


def is_said(message: str, templates: list[str]) -> bool:
    """Whether the parts of a message stand in their order in one text, or one after the other in two."""
    wanted = split_message(message)

    def count(template: str, parts: list[str]) -> int:
        place = 0
        for number, part in enumerate(parts):
            found = template.find(part, place)
            if found < 0:
                return number
            place = found + len(part)
        return len(parts)

    first = max((count(template, wanted) for template in templates), default=0)
    rest = wanted[first:]
    return (
        bool(wanted) and first > 0 and (not rest or any(count(template, rest) == len(rest) for template in templates))
    )


def test_every_message_of_the_page_is_in_the_source() -> None:
    messages, templates = list(list_messages(PAGE.read_text())), list_templates()
    assert len(messages) > 80
    assert [message for message in messages if not is_said(message, templates)] == []


def test_a_message_that_nobody_says_is_found() -> None:
    templates = list_templates()
    assert is_said("scale: … was given; the study … has …", templates)
    assert not is_said("scale: … was refused; the study … has …", templates)
    assert not is_said("no such sentence", templates)
