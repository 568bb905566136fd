"""Supervision of attention: the divergence between a known pattern and a head's is added to the loss."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from saltus.known_patterns import KNOWN_PATTERNS
from saltus.lm.pocket.interventions.base import Around, Intervention
from saltus.lm.pocket.interventions.patterns import attend, choose_heads, cross_entropy
from saltus.specs.pocket_interventions import KnownPatternSpec
from saltus.train.interventions.patterns import take_share


class Supervision(Intervention):
    """KL(known pattern || attention) of the best head, or of all, on a share of each batch."""

    def __init__(self, spec: KnownPatternSpec, around: Around, generator: np.random.Generator) -> None:
        super().__init__(spec, around, generator)
        self._spec = spec
        self._heads = choose_heads(spec, around.model)
        queries = np.arange(around.suite.length - 1)
        self._distances = np.zeros_like(queries)
        if spec.toward == "placebo":  # by at least one key, at most to the key just before it
            self._distances[1:] = generator.integers(1, queries[1:], endpoint=True)

    def loss(self, step: int, model: GPTNeoXForCausalLM, tokens: Tensor) -> Tensor | None:
        """As `Intervention.loss`: nothing where the weight is 0, or no query has a key of the pattern."""
        weight = self._spec.anneal(self._spec.weight, 0.0, step)
        supervised = take_share(tokens, self._spec.share)
        keys = torch.from_numpy(self.find_keys(supervised[:, :-1].numpy()))
        needed = keys.sum(-1)  # [sequence, query]
        if weight == 0.0 or not needed.any():
            return None
        wanted = keys / needed.clamp(min=1)[..., None]
        pattern = attend(model, supervised).flatten(1, 2)[:, self._heads]  # [sequence, head, query, key]
        divergence = cross_entropy(wanted[:, None], pattern) - cross_entropy(wanted, wanted)[:, None]
        by_head = divergence.sum((0, 2)) / (needed > 0).sum()
        return weight * (by_head.amin() if self._spec.match == "best" else by_head.mean())

    def find_keys(self, tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[sequence, query, key] what the queries of [sequence, token] are to look at.

        The placebo moves the keys of a query on by its distance, among the keys that it can see, from the last of which
        it goes on at the first.
        """
        find = KNOWN_PATTERNS[self._spec.pattern]
        masks = np.array([find(each) for each in tokens])
        queries, keys = np.indices(masks.shape[1:])
        come_from = np.where(keys <= queries, (keys - self._distances[:, None]) % (queries + 1), keys)
        return np.take_along_axis(masks, come_from[None], axis=2)
