"""A task of the user's own, from the code that its spec holds, and what is checked of it before training."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.errors import SaltusError
from saltus.specs import CustomTask
from saltus.specs.source import define_class, describe_failure
from saltus.tasks.base import WHOLE, Task, TaskFacts, find_order

_SEQUENCES = 4096
"""Drawn for the checks, or as many as have `_TOKENS` tokens."""

_TOKENS = 2**20

_SLACK = 1e-6
"""Nats by which a loss may be off by rounding."""


class _Custom:
    """A task of the user's own; its tokens are as narrow as their symbols allow."""

    def __init__(self, task: Any, spec: CustomTask) -> None:
        self._task = task
        self._type = np.uint8 if spec.symbols <= 256 else np.int32

    @property
    def facts(self) -> TaskFacts:
        """What is known before training."""
        return self._task.facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[Any]:
        """`count` fresh sequences, [sequence, token]."""
        return np.asarray(self._task.sample(generator, count)).astype(self._type)

    def truth_of(self, tokens: NDArray[Any]) -> NDArray[np.bool_]:
        """As `Task.truth_of`; the truth map of its facts where the task has no such method."""
        if hasattr(self._task, "truth_of"):
            return self._task.truth_of(tokens)
        return np.broadcast_to(self.facts.truth, (len(tokens), *self.facts.truth.shape))

    def order_of(self, tokens: NDArray[Any]) -> NDArray[np.int64]:
        """As `ReorderedTask.order_of`, of a task whose facts are reordered."""
        return np.asarray(self._task.order_of(tokens))


def build_custom_task(spec: CustomTask, generator: np.random.Generator) -> Task:
    """The task that the code of `spec` defines.

    Its code is executed: only ever of a spec that a study file of the user's made, never of one read from a folder.
    """
    return _Custom(define_class(spec.name, spec.source)(generator, **spec.options), spec)


def check_task(spec: CustomTask) -> None:
    """Refuse a task whose facts and data do not agree, or whose code raises.

    Raises:
        SaltusError: with the first thing that is wrong.

    """
    try:
        wrong = _find_wrong(spec)
    except Exception as error:  # noqa: BLE001 - somebody's code may raise anything
        wrong = f"raised {describe_failure(error)}; mend its code"
    if wrong:
        raise SaltusError(f"task: {spec.name} {wrong}")


def _find_wrong(spec: CustomTask) -> str | None:
    first, second = (define_class(spec.name, spec.source)(np.random.default_rng(7), **spec.options) for _ in range(2))
    facts: Any = first.facts
    if not isinstance(facts, TaskFacts):
        return f"has facts that are a {type(facts).__name__}; make them with saltus.tasks.base.TaskFacts.of"
    count = max(2, min(_SEQUENCES, _TOKENS // spec.length))
    drawn = [np.asarray(task.sample(np.random.default_rng(8), count)) for task in (first, second, first)]
    tokens, again, later = drawn
    if tokens.shape != (count, spec.length) or tokens.dtype.kind not in "iu":
        return (
            f"gives {tokens.dtype} {tokens.shape}; sample is to give integers [sequence, token], {(count, spec.length)}"
        )
    if (outside := tokens[(tokens < 0) | (tokens >= spec.symbols)]).size:
        return f"gives the token {outside[0]}; allowed are 0 to {spec.symbols - 1}"
    if not np.array_equal(tokens, again):
        return "gives two results for one generator; take all that is random from the generator that it is given"
    if not np.array_equal(tokens, later):
        return "gives another result when it is called again with an equal generator; let sample change nothing of self"
    if wrong := _find_wrong_facts(spec, facts):
        return wrong
    task = _Custom(first, spec)
    order = find_order(task, tokens)
    if order is None:
        order = np.tile(np.arange(facts.queries), (count, 1))
    if order.shape != (count, facts.queries) or (np.sort(order, axis=1) != np.arange(facts.queries)).any():
        return (
            f"has order_of give {order.dtype} {order.shape}; each row is to have every query, 0 to {facts.queries - 1}"
        )
    targets, truth = np.take_along_axis(tokens[:, 1:], order, axis=1), task.truth_of(tokens)
    wrong = _find_wrong_losses(facts, targets) or _find_wrong_truth(facts, tokens, truth, order)
    return wrong or (_find_wrong_keys(facts, truth, order) if facts.varies or hasattr(first, "truth_of") else None)


def _find_wrong_facts(spec: CustomTask, facts: TaskFacts) -> str | None:
    """Sizes, and that nothing needs the future."""
    queries = spec.length - 1
    if (facts.length, facts.symbols) != (spec.length, spec.symbols):
        return f"has length {facts.length} and {facts.symbols} symbols, and {spec.length} and {spec.symbols} before"
    axes_of = {"unit_of_query": 1, "chance_loss": 1, "floor_loss": 1, "truth": 2, "candidates": 2}
    for name, axes in (axes_of | ({"varying": 1} if facts.varies else {})).items():
        if (shape := np.shape(getattr(facts, name))) != (queries,) * axes:
            return f"has facts.{name} of the shape {shape}; {(queries,) * axes} is needed, with {queries} queries"
    units: tuple[Any, ...] = facts.units  # somebody's code may name them by anything
    for unit in units:
        if not isinstance(unit, str) or not unit.strip() or units.count(unit) > 1:
            return f"has {units.count(unit)} unit(s) called {unit!r}; each needs a name of its own, a string"
    missing = [unit for i, unit in enumerate(facts.units) if i not in facts.unit_of_query]
    if missing or not facts.units or facts.unit_of_query.max() >= len(facts.units):
        return f"has the units {', '.join(facts.units) or 'none'}; each needs a query, and each scored query a unit"
    if WHOLE in facts.units:
        return f"has a unit {WHOLE!r}, which is what all its units together are called; give it another name"
    if (ahead := np.argwhere(np.triu(facts.truth, 1))).size:
        return f"says that query {ahead[0][0]} needs key {ahead[0][1]}, which is after it; true keys are 0 to the query"
    return None


def _find_wrong_losses(facts: TaskFacts, targets: NDArray[Any]) -> str | None:
    """Chance and floor of scored queries against the targets that were drawn, [sequence, query]."""
    for query in np.flatnonzero(facts.scored):
        chance, floor = facts.chance_loss[query], facts.floor_loss[query]
        largest = np.log(facts.symbols)
        if not 0 < chance <= largest + _SLACK:
            return f"has chance_loss {chance:.3g} at query {query}; allowed is above 0 to ln C = {largest:.3g}"
        if floor < 0 or floor > chance + _SLACK:
            return f"has floor_loss {floor:.3g} at query {query}; allowed is 0 to chance, {chance:.3g}, or NaN"
        shares = np.unique(targets[:, query], return_counts=True)[1] / len(targets)
        if np.log(len(shares)) > chance + _SLACK:
            return (
                f"has chance_loss {chance:.3g} at query {query}, a guess among {np.exp(chance):.3g} symbols, and its "
                f"targets are {len(shares)}: chance is at least {np.log(len(shares)):.3g}"
            )
        entropy = -float((shares * np.log(shares)).sum())
        bias = (len(shares) - 1) / (2 * len(targets))  # of an entropy from a sample (Miller, 1955)
        if len(shares) * 20 <= len(targets) and floor > entropy + bias + 0.05:
            return (
                f"has floor_loss {floor:.3g} at query {query}, and how often each target comes gives {entropy:.3g} "
                "already; make the floor smaller, or NaN"
            )
    return None


def _find_wrong_truth(
    facts: TaskFacts, tokens: NDArray[Any], truth: NDArray[np.bool_], order: NDArray[np.int64]
) -> str | None:
    """Where the floor is 0, sequences that agree at the true keys of a query agree in its target.

    `order` [sequence, query] says which query of the sequence that of the facts is.
    """
    sequences = np.arange(len(tokens))
    if truth.shape != (len(tokens), *facts.truth.shape):
        return f"has truth_of give {truth.shape}; [sequence, query, key] is {(len(tokens), *facts.truth.shape)}"
    for query in np.flatnonzero(facts.scored & (facts.floor_loss == 0)):
        places = order[:, query]
        keys = truth[sequences, places]
        if (keys & (np.arange(facts.queries) > places[:, None])).any():
            return f"says that query {query} needs a key after it; true keys are 0 to the query"
        if not keys.any():
            continue  # no claim
        # a symbol at a true key, -1 at any other: what may differ is left out, and where the keys are is kept
        needed = np.flatnonzero(keys.any(axis=0))
        seen = np.ascontiguousarray(np.where(keys[:, needed], tokens[:, needed].astype(np.int32), -1))
        rows = seen.view(np.dtype((np.void, seen.itemsize * len(needed)))).reshape(-1)  # compared as bytes
        known = np.unique(rows, return_inverse=True)[1]
        ranked, targets = np.argsort(known, kind="stable"), tokens[sequences, places + 1]
        same = np.diff(known[ranked]) == 0
        differ = same & (np.diff(targets[ranked].astype(np.int64)) != 0)
        if differ.any():
            return (
                f"says what query {query} needs, and {int(differ.sum())} of {int(same.sum())} pairs of sequences that "
                "agree there have different targets: a key outside changes the target, so name it, or no truth"
            )
    return None


def _find_wrong_keys(facts: TaskFacts, truth: NDArray[np.bool_], order: NDArray[np.int64]) -> str | None:
    """The truth of each sequence, [sequence, query, key], is the map of the facts, or has as many keys as they say."""
    for query in np.flatnonzero(facts.scored):
        keys = truth[np.arange(len(truth)), order[:, query]]
        number = keys.sum(axis=1).mean()
        if facts.varying is not None and abs(number - facts.varying[query]) > 0.5:
            return (
                f"has facts.varying {facts.varying[query]} at query {query}, and truth_of gives {number:.3g} keys in a "
                "sequence; make the facts with varying= as many as truth_of gives"
            )
        if facts.varying is None and (keys != facts.truth[query]).any():
            return (
                f"has truth_of give query {query} other keys than facts.truth; leave truth_of out, or make the facts "
                "with varying= as many as it gives"
            )
    return None
