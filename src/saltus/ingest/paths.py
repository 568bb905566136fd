"""Group, seed and step from paths and names of models: by a pattern of the user's, or by the usual words in them."""

import re
from re import Pattern

from saltus.ingest.rows import Labels, clean, to_step

STEP = re.compile(
    r"(?<![a-z])(?:global[-_]?step|checkpoint|ckpt|step|iteration|iter)s?[-_=]?(\d+)(?!\d)", re.IGNORECASE
)
SEED = re.compile(r"(?<![a-z])seed[-_=]?(\d+)(?!\d)", re.IGNORECASE)

_GENERAL = re.compile(
    r"(?:eval[-_])?results?|metrics|history|logs?|evals?|trainer_state|events\.out\.tfevents.*", re.IGNORECASE
)
"""Parts of a path that name no group."""

_TIME = re.compile(r"\d{2,4}-\d\d-\d{2,4}(?:[T_-]\d\d-\d\d-\d\d(?:[.-]\d+)?)?")


def compile_pattern(pattern: str) -> Pattern[str]:
    """The expression of a pattern: `*` is anything but `/`, `**` anything, `{step}` a number, the others as `*`.

    It may begin at any part of a path and has to reach its end.
    """
    parts = {"**": ".*", "*": "[^/]*", "{group}": "(?P<group>[^/]+)", "{seed}": "(?P<seed>[^/]+)"}
    parts |= {"{step}": r"(?P<step>\d+)"}
    found = re.split(r"(\*\*|\*|\{\w+\})", pattern)
    return re.compile("(?:.*/)?" + "".join(parts.get(part, re.escape(part)) for part in found), re.DOTALL)


def read_pattern(pattern: Pattern[str], path: str) -> Labels | None:
    """What a path says by a pattern; None where it does not fit."""
    match = pattern.fullmatch(path)
    if match is None:
        return None
    named = match.groupdict()
    group, seed = (clean(named[name]) if name in named else None for name in ("group", "seed"))
    return Labels(group, seed, to_step(named.get("step")))


def guess_labels(path: str) -> Labels:
    """What a path says by the usual words, such as `seed3` and `step1000`; the group is what is left of it."""
    parts = [re.sub(r"\.(jsonl?|ndjson|[ct]sv|parquet)$", "", part) for part in path.split("/")]
    left = [_strip(part) for part in parts if part not in (".", "..")]
    group = "/".join(part for part in left if part and not _GENERAL.fullmatch(part))
    return Labels(clean(group) or None, find_seed(path), find_step(path))


def describe_model(model: str, revision: str = "") -> Labels:
    """What the name of a model says: `EleutherAI/pythia-160m-seed3` at `step1000` is seed 3 of pythia-160m there."""
    left = [part for part in map(_strip, model.replace("\\", "/").split("/")) if part]
    step = find_step(revision)
    return Labels(clean(left[-1]) if left else None, find_seed(model), find_step(model) if step is None else step)


def describe_run(name: str) -> Labels:
    """What the name of a run says: `wide-seed3` is seed 3 of `wide`."""
    return Labels(clean(SEED.sub("", name).strip("-_. ")) or clean(name) or None, find_seed(name))


def find_step(text: str) -> int | None:
    """The last step that a text names."""
    found = STEP.findall(text)
    return to_step(found[-1]) if found else None


def find_seed(text: str) -> str | None:
    """The last seed that a text names."""
    found = SEED.findall(text)
    return str(int(found[-1])) if found and len(found[-1]) < 20 else None


def _strip(part: str) -> str:
    """A part of a path without its step, its seed and its time, and the signs around them."""
    return re.sub(r"([-_.])[-_.]+", r"\1", SEED.sub("", STEP.sub("", _TIME.sub("", part)))).strip("-_. ")
