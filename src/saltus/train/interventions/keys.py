"""Which keys an intervention is about: the true ones, or a placebo; and in which layers and heads."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltus.errors import SaltusError
from saltus.specs.interventions import AttentionSpec
from saltus.specs.models import BackboneSpec, HeadedSpec
from saltus.tasks.base import TaskFacts


def require_truth(facts: TaskFacts) -> None:
    """Refuse a task whose true keys are not known."""
    if not facts.needed.any():
        raise SaltusError(
            "intervention is toward or away from true keys, and which keys this task needs is not known; leave it out, "
            "or take an intervention that needs no truth"
        )


def choose_keys(placebo: bool, facts: TaskFacts, generator: np.random.Generator) -> NDArray[np.bool_]:
    """[query, key] the true keys of every sequence, or a placebo. Refused where the truth varies between sequences."""
    if facts.varies:
        raise SaltusError(
            "intervention is given, but the true keys of this task vary from sequence to sequence and this one is the "
            "same for all; leave it out, or take a linear map or a cellular automaton"
        )
    require_truth(facts)
    return draw_placebo(facts, generator) if placebo else facts.truth


def find_queries(units: tuple[int, ...] | None, facts: TaskFacts) -> NDArray[np.bool_]:
    """[query] those of these units, or the scored ones."""
    if units is None:
        return facts.scored
    if max(units) >= len(facts.units):
        raise SaltusError(f"intervention.units names {max(units)}; the task has the units 0 to {len(facts.units) - 1}")
    return np.isin(facts.unit_of_query, units)


def draw_placebo(facts: TaskFacts, generator: np.random.Generator) -> NDArray[np.bool_]:
    """[query, key] a wrong map with as many keys for each query as the truth, from the same candidates.

    The same for all queries of a unit where the truth is: the place of a key among the candidates is then drawn for the
    unit, otherwise for each query. True keys are taken only where there are too few others.
    """
    placebo = np.zeros_like(facts.truth)
    for queries in _group_alike(facts):
        candidates = facts.candidates[queries]
        keys = np.stack([np.flatnonzero(row) for row in candidates])  # [query, place]
        true = np.take_along_axis(facts.truth[queries], keys, axis=1)  # [query, place], alike for all queries
        order = generator.permutation(keys.shape[1])
        order = order[np.argsort(true[0][order], kind="stable")]  # the wrong ones first
        picked = keys[:, order[: int(true[0].sum())]]
        placebo[queries[:, None], picked] = True
    return placebo


def _group_alike(facts: TaskFacts) -> Iterator[NDArray[np.int64]]:
    """The queries of each unit, together where they have their true keys at the same places among their candidates."""
    for unit in range(len(facts.units)):
        queries = np.flatnonzero(facts.unit_of_query == unit)
        first, *others = [facts.truth[query, facts.candidates[query]] for query in queries]
        yield from [queries] if all(np.array_equal(first, each) for each in others) else queries[:, None]


def find_heads(spec: AttentionSpec, model: BackboneSpec) -> NDArray[np.bool_]:
    """[layer, head] the chosen ones; an axis of all layers or heads has length 1."""
    layers, heads = _mask(spec.layers, model.layers), _mask(spec.heads, model.attention_heads)
    return layers[:, None] & heads


def spread_factor(spec: AttentionSpec, model: BackboneSpec, part: int, factor: float) -> dict[str, Tensor]:
    """A factor on the query (0), key (1) or value (2) rows of the chosen heads, by the name of the weight."""
    assert isinstance(model, HeadedSpec)  # a description is checked against its model
    heads = torch.from_numpy(_mask(spec.heads, model.attention_heads))
    rows = torch.ones(3, model.attention_heads, model.head_dimension)
    rows[part] = torch.where(heads, factor, 1.0)[:, None]
    found: dict[str, Tensor] = {}
    for layer in range(model.layers) if spec.layers is None else spec.layers:
        name = f"blocks.{layer}.mixer.query_key_value"
        found |= {f"{name}.weight": rows.view(-1, 1), f"{name}.bias": rows.view(-1)}
    return found


def _mask(chosen: tuple[int, ...] | None, number: int) -> NDArray[np.bool_]:
    """[number] which are chosen; one True for all of them."""
    return np.ones(1, dtype=bool) if chosen is None else np.isin(np.arange(number), chosen)
