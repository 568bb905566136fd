"""Supervision of attention: the divergence between a head's pattern and the truth is added to the loss."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from saltus.errors import SaltusError
from saltus.models.decoder import Decoder
from saltus.specs import SupervisionSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task
from saltus.train.interventions.base import Intervention, Weights
from saltus.train.interventions.keys import choose_keys, find_heads, find_queries, require_truth
from saltus.train.interventions.patterns import (
    SMALLEST,
    attend,
    average_by_unit,
    find_places,
    take_queries,
    take_share,
)


class Supervision(Intervention):
    """KL(truth || pattern) of the best head of each unit, or of all heads, on a share of each batch."""

    def __init__(self, spec: SupervisionSpec, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        """Refused where no truth is known."""
        super().__init__(spec, model, task, generator)
        self._supervision, facts = spec, task.facts
        require_truth(facts)
        queries = find_queries(spec.units, facts) & (facts.needed > 0)
        self._queries = torch.from_numpy(np.flatnonzero(queries))
        self._by_unit = average_by_unit(facts, queries)[self._queries]  # [supervised query, unit]
        heads = find_heads(spec, model)
        self._heads = torch.from_numpy(np.broadcast_to(heads, (model.layers, model.attention_heads)).copy())
        self._fixed = None
        if not facts.varies:
            self._fixed = torch.from_numpy(choose_keys(spec.toward == "placebo", facts, generator))[None]

    def loss(
        self, step: int, model: Decoder, tokens: Tensor, bias: Tensor | None
    ) -> Callable[[Weights], Tensor] | None:
        """As `Intervention.loss`: nothing where the weight is 0."""
        spec = self._supervision
        weight = spec.anneal(spec.weight, 0.0, step)
        if weight == 0.0:
            return None
        supervised = take_share(tokens, spec.share)
        keys = self._find_keys(tokens, len(supervised)).to(tokens.device)  # [n or 1, query, key]
        places = find_places(self.task, supervised, self._queries)
        needed = keys.sum(-1)
        wanted = keys / needed.clamp(min=1)[..., None]
        negentropy = -needed.clamp(min=1).log()  # of the truth, [n or 1, query]: 0 where a sequence needs no key

        def diverge(weights: Weights) -> Tensor:
            pattern = take_queries(attend(model, weights, supervised, bias), places)  # [n, layer, head, query, key]
            cross = -(wanted[:, None, None] * pattern.clamp(min=SMALLEST).log()).sum(-1)
            divergence = (cross + negentropy[:, None, None]).mean(0)  # [layer, head, query]
            by_unit = (divergence @ self._by_unit.to(divergence.device))[self._heads]  # [chosen head, unit]
            return weight * (by_unit.amin(0) if spec.match == "best" else by_unit.mean(0)).mean()

        return diverge

    def _find_keys(self, tokens: Tensor, count: int) -> Tensor:
        """[sequence, supervised query, key] of the first sequences; one for all where it does not vary."""
        if self._fixed is not None:
            return self._fixed[:, self._queries]
        if self._supervision.toward == "placebo":
            if len(tokens) == 1:
                raise SaltusError(
                    "intervention.toward: 'placebo' was given, and a batch has one sequence; where the truth varies "
                    "the placebo is the truth of another one, so take 2 sequences or more"
                )
            tokens = tokens.roll(-1, 0)
        truth = torch.from_numpy(self.task.truth_of(tokens[:count].cpu().numpy()))
        return take_queries(truth, find_places(self.task, tokens[:count].cpu(), self._queries))
