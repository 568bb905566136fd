"""Group, seed and step from paths and names of models: by a pattern of the user's, or by the usual words in them."""

import re
from decimal import Decimal
from math import isfinite
from re import Pattern
from typing import Any, NamedTuple

STEP = re.compile(
    r"(?<![a-z])(?:global[-_]?step|checkpoint|ckpt|step|iteration|iter)s?[-_=]?"
    r"(\d+(?:\.\d+)?[kmb](?![a-z0-9])|\d+(?!\d|\.\d))",
    re.IGNORECASE,
)
SEED = re.compile(r"(?<![a-z])seed[-_=]?(\d+)(?!\d)", re.IGNORECASE)
TOKENS = re.compile(r"(?<![a-z])tokens?[-_=]?(\d+(?:\.\d+)?[kmbt]?)(?![a-z0-9])", re.IGNORECASE)

_LAST_STEP = 2**53
_LONGEST_NAME = 200

_GENERAL = re.compile(
    r"(?:eval[-_])?results?|metrics|history|logs?|evals?|trainer_state|events\.out\.tfevents.*", re.IGNORECASE
)
"""Parts of a path that name no group."""

_FOLDER = re.compile(r"(?:checkpoint|ckpt|model|output|weight)s?|hf", re.IGNORECASE)
"""Folders of checkpoints that name no model."""

_ROUND = re.compile(rf"{STEP.pattern}[-_.]{TOKENS.pattern}", re.IGNORECASE)
"""A step and the tokens seen by then, `step1000-tokens4B`. Tokens apart from a step may be those of a whole run."""

_TIME = re.compile(r"\d{2,4}-\d\d-\d{2,4}(?:[T_-]\d\d-\d\d-\d\d(?:[.-]\d+)?)?")


class Labels(NamedTuple):
    """Whose values they are, as far as it is known."""

    group: str | None = None
    seed: str | None = None
    step: int | None = None

    def fill(self, other: "Labels") -> "Labels":
        """These, and those of the other where these say nothing."""
        return Labels(
            other.group if self.group is None else self.group,
            other.seed if self.seed is None else self.seed,
            other.step if self.step is None else self.step,
        )


def compile_pattern(pattern: str, *, whole: bool = False) -> Pattern[str]:
    """The expression of a pattern: `*` is anything but `/`, `**` anything, `{step}` a number, the others as `*`.

    `{tokens}` is a number as in `5B`. A pattern has to reach the end of a path, and may begin at any part of it unless
    it stands for the `whole`.
    """
    parts = {"**": ".*", "*": "[^/]*", "{group}": "(?P<group>[^/]+)", "{seed}": "(?P<seed>[^/]+)"}
    # A number begins where its digits do: what stands before it takes none of them.
    parts |= {"{step}": r"(?<!\d)(?P<step>\d+)", "{tokens}": r"(?<![\d.])(?P<tokens>\d+(?:\.\d+)?[KMBTkmbt]?)"}
    expression = "".join(parts.get(part, re.escape(part)) for part in split_pattern(pattern))
    return re.compile(expression if whole else f"(?:.*/)?{expression}", re.DOTALL)


def split_pattern(pattern: str) -> list[str]:
    """What a pattern consists of: literal text, and in between `**`, `*` or a name in braces."""
    return re.split(r"(\*\*|\*|\{\w+\})", pattern)


def read_pattern(pattern: Pattern[str], path: str) -> Labels | None:
    """What a path says by a pattern; None where it does not fit."""
    match = pattern.fullmatch(path)
    if match is None:
        return None
    named = match.groupdict()
    group, seed = (clean(named[name]) if name in named else None for name in ("group", "seed"))
    return Labels(group, seed, to_step(named.get("step")))


def read_tokens(pattern: Pattern[str], path: str) -> int | None:
    """The number of tokens that a path says by a pattern; None where it says none."""
    match = pattern.fullmatch(path)
    text = match.groupdict().get("tokens") if match is not None else None
    return to_count(text) if text else None


def guess_labels(path: str) -> Labels:
    """What a path says by the usual words, such as `seed3` and `step1000`; the group is what is left of it."""
    parts = [re.sub(r"\.(jsonl?|ndjson|[ct]sv|parquet)$", "", part) for part in path.split("/")]
    left = [_strip(part) for part in parts if part not in (".", "..")]
    group = "/".join(part for part in left if part and not _GENERAL.fullmatch(part))
    return Labels(clean(group) or None, find_seed(path), find_step(path))


def describe_model(model: str, revision: str = "") -> Labels:
    """What the name of a model says: `EleutherAI/pythia-160m-seed3` at `step1000` is seed 3 of pythia-160m there.

    Of `runs/wide/checkpoints/step7` it is `wide`.
    """
    left = [part for part in map(_strip, model.replace("\\", "/").split("/")) if part]
    named = [part for part in left if not _FOLDER.fullmatch(part)] or left
    step = find_step(revision)
    return Labels(clean(named[-1]) if named else None, find_seed(model), find_step(model) if step is None else step)


def describe_run(name: str) -> Labels:
    """What the name of a run says: `wide-seed3` is seed 3 of `wide`."""
    return Labels(clean(SEED.sub("", name).strip("-_. ")) or clean(name) or None, find_seed(name))


def find_step(text: str) -> int | None:
    """The last step that a text names."""
    found = STEP.findall(text)
    return to_step(to_count(found[-1])) if found else None


def find_seed(text: str) -> str | None:
    """The last seed that a text names."""
    found = SEED.findall(text)
    return str(int(found[-1])) if found and len(found[-1]) < 20 else None


def find_tokens(text: str) -> int | None:
    """The last number of tokens that a text names, as in `tokens5B`."""
    found = TOKENS.findall(text)
    return to_count(found[-1]) if found else None


def to_count(text: str) -> int | None:
    """A number of steps or tokens, such as `4194304`, `5B` or `1.5T`; None where it is none.

    >>> to_count("2.5m"), to_count("2.5")
    (2500000, None)
    """
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)([KMBT]?)", text.strip(), re.IGNORECASE | re.ASCII)
    count = Decimal(match[1]) * 1000 ** " KMBT".index(match[2].upper() or " ") if match else None
    return int(count) if count is not None and count == int(count) else None


def strip_step(text: str) -> str:
    """What a text says besides a step and a number of tokens: `stage1` of `stage1-step1000-tokens5B`."""
    return _strip_signs(TOKENS.sub("", STEP.sub("", text)))


def strip_time(text: str) -> str:
    """A text without dates, times and steps."""
    return STEP.sub("", _TIME.sub("", text))


def _strip(part: str) -> str:
    """A part of a path without its step, its seed and its time, and the signs around them."""
    return _strip_signs(SEED.sub("", strip_time(_ROUND.sub("", part))))


def _strip_signs(text: str) -> str:
    return re.sub(r"([-_.])[-_.]+", r"\1", text).strip("-_. ")


def clean(name: Any) -> str:
    """A name on one line: nothing in it that a terminal obeys, and not too long."""
    text = str(name).strip()
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."


def to_number(value: Any) -> float | None:
    """A number, or text of one; None where it is neither. NaN and infinity are numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def to_step(value: Any) -> int | None:
    """A step: a whole number of at least 0; None where it is none."""
    number = to_number(value)
    if number is None or not isfinite(number) or number != int(number) or not 0 <= number <= _LAST_STEP:
        return None
    return int(number)
