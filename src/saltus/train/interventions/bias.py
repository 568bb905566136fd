"""A bias on attention: which keys of which queries, in which layers and heads, and until when."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltus.errors import SaltusError
from saltus.specs import BiasSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import TaskFacts
from saltus.train.interventions.base import Intervention


class Bias(Intervention):
    """c is added to the attention logits of chosen keys (the paper, bias intervention), until it is released."""

    def __init__(self, spec: BiasSpec, model: BackboneSpec, facts: TaskFacts, generator: np.random.Generator) -> None:
        """Refused where the truth varies, since a bias is one array for all sequences."""
        super().__init__(spec, model, facts, generator)
        self._added = torch.from_numpy(build_bias(spec, model, facts, generator))
        self._until = spec.until

    def logits(self, step: int) -> Tensor:
        """As `Intervention.logits`: zeros once it is released."""
        if self._until is not None and step >= self._until:
            self._added, self._until = torch.zeros_like(self._added), None
        return self._added


def build_bias(
    spec: BiasSpec, model: BackboneSpec, facts: TaskFacts, generator: np.random.Generator
) -> NDArray[np.float32]:
    """What is added to the attention logits, [layer, head, query, key]; the axis of all layers or heads has length 1.

    `generator` draws the placebo. Refused where the truth varies, since a bias is one array for all sequences.
    """
    if facts.varies:
        raise SaltusError(
            "intervention is given, but the true keys of this task vary from sequence to sequence and a bias is the "
            "same for all; leave it out, or take a linear map or a cellular automaton"
        )
    chosen = facts.truth if spec.toward == "truth" else draw_placebo(facts, generator)
    if spec.units is not None:
        if max(spec.units) >= len(facts.units):
            raise SaltusError(
                f"intervention.units names {max(spec.units)}; the task has the units 0 to {len(facts.units) - 1}"
            )
        chosen = chosen & np.isin(facts.unit_of_query, spec.units)[:, None]
    if spec.keys is not None:
        chosen = chosen & (chosen.cumsum(axis=1) <= spec.keys)
    layers, heads = _mask(spec.layers, model.layers), _mask(spec.heads, model.attention_heads)
    where = layers[:, None, None, None] & heads[:, None, None] & chosen
    return np.where(where, np.float32(spec.strength), np.float32(0.0))


def draw_placebo(facts: TaskFacts, generator: np.random.Generator) -> NDArray[np.bool_]:
    """[query, key] a wrong map with as many keys for each query as the truth, from the same candidates.

    The same for all queries of a unit, as the truth is: the place of a key among the candidates is drawn for the unit.
    True keys are taken only where there are too few others.
    """
    placebo = np.zeros_like(facts.truth)
    for unit in range(len(facts.units)):
        queries = np.flatnonzero(facts.unit_of_query == unit)
        candidates = facts.candidates[queries]
        keys = np.stack([np.flatnonzero(row) for row in candidates])  # [query, place]
        true = np.take_along_axis(facts.truth[queries], keys, axis=1)  # [query, place], alike for all queries
        order = generator.permutation(keys.shape[1])
        order = order[np.argsort(true[0][order], kind="stable")]  # the wrong ones first
        picked = keys[:, order[: int(true[0].sum())]]
        placebo[queries[:, None], picked] = True
    return placebo


def _mask(chosen: tuple[int, ...] | None, number: int) -> NDArray[np.bool_]:
    """[number] which are chosen; one True for all of them."""
    return np.ones(1, dtype=bool) if chosen is None else np.isin(np.arange(number), chosen)
