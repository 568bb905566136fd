"""The audit of labels: does a file's content name the model, the seed and the step that its path names?

Public collections are wrong here more often than one would think: the results of a base model stand under the label of
a seed where the wrong model was loaded. Nothing in the numbers shows it.
"""

import re
from collections.abc import Sequence

from saltus.labels import Labels, describe_model, strip_time

_SIZE = re.compile(r"\d+(?:\.\d+)?[kmbt]")


def find_contradiction(path: str, said: Labels, model: str, revision: str, models: Sequence[str]) -> str | None:
    """What the content of a file names otherwise than its path, such as `step 64 in its content, step 32 in its path`.

    Args:
        path: of the file, below what was asked for.
        said: by the path, as far as it says anything.
        model: named by the content; empty where it names none.
        revision: of that model, likewise.
        models: named by the contents of all files: the path may fit one of the others better.

    """
    named = describe_model(model, revision)
    if said.step is not None and named.step is not None and said.step != named.step:
        return f"step {named.step} in its content, step {said.step} in its path"
    if said.seed is not None and named.seed is not None and not _same_seed(said.seed, named.seed):
        return f"seed {named.seed} in its content, seed {said.seed} in its path"
    if not model:
        return None
    if size := _find_size(path, model):
        return f"{model} in its content, {size} in its path"
    if _find_better(_split(path), model, models):
        return f"{model} in its content"
    # That a content names no seed says something only where others do.
    if named.seed is None and said.seed is not None and any(describe_model(other).seed for other in models):
        return f"{model} and no seed in its content, seed {said.seed} in its path"
    return None


def _find_better(words: frozenset[str], model: str, models: Sequence[str]) -> str | None:
    """Another of the models, of whose name a path says more, or as much while it lacks less of it."""
    own = _split(model)
    for other in models:
        theirs = _split(other)
        if own & words < theirs & words:
            return other
        if own & words and own & words == theirs & words and theirs - words < own - words:
            return other
    return None


def _find_size(path: str, model: str) -> str | None:
    """A size, such as `410m`, that a path names for its model while the model has another.

    A size belongs to the model where it stands alone in a part of the path, or beside a word of the model: `c4-10b`
    says how much data there was.
    """
    own = _split(model)
    named = frozenset(filter(_SIZE.fullmatch, own))
    sizes: list[str] = []
    for words in map(_split, path.split("/")):
        there = frozenset(filter(_SIZE.fullmatch, words))
        sizes += sorted(there) if words == there or words & (own - named) else []
    return sizes[0] if named and sizes and not named & {*sizes} else None


def _split(name: str) -> frozenset[str]:
    """The words of a name or a path, without those of steps and times."""
    label = re.sub(r"seed[-_=]?0*(\d)", r"seed\1", strip_time(name).lower())
    return frozenset(word for word in re.split(r"[^a-z0-9.]+", label) if word.strip(".")) - {"json"}


def _same_seed(one: str, other: str) -> bool:
    return one.removeprefix("seed").lstrip("-_=0") == other.lstrip("0")
