"""Patterns of a model as a differentiable function of its weights, and how far they are from what is wanted."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from saltus.models.decoder import Decoder
from saltus.tasks.base import Task, TaskFacts, find_order
from saltus.train.evaluate import WithPatterns
from saltus.train.interventions.base import Weights

SMALLEST = 1e-30
"""Attention below it counts as it: its logarithm and its gradient are finite."""


def attend(model: Decoder, weights: Weights, tokens: Tensor, bias: Tensor | None) -> Tensor:
    """Attention of a model with these weights on [sequence, token]: [sequence, layer, head, query, key]."""
    named = {f"model.{name}": value for name, value in weights.items()}
    _, patterns = functional_call(WithPatterns(model, patterns=True), named, (tokens[:, :-1].long(), bias))
    return torch.stack(patterns, dim=1)


def find_places(task: Task, tokens: Tensor, queries: Tensor) -> Tensor:
    """[sequence, chosen query] where queries [chosen query] of the facts are in [sequence, token]; one row for all
    where the facts have the order of the sequences.
    """
    order = find_order(task, tokens.cpu().numpy())
    places = queries[None] if order is None else torch.from_numpy(order)[:, queries]
    return places.to(tokens.device)


def take_queries(pattern: Tensor, places: Tensor) -> Tensor:
    """[sequence, ..., query, key] -> [sequence, ..., chosen query, key] at places [sequence or 1, chosen query]."""
    if len(places) == 1 < len(pattern):
        return pattern[..., places[0], :]
    axes = (len(places), *(1,) * (pattern.ndim - 3), places.shape[1], 1)
    return pattern.take_along_dim(places.reshape(axes), dim=-2)


def take_share(tokens: Tensor, share: float) -> Tensor:
    """The first sequences of a batch, [sequence, token], at least one: they are as random as any others."""
    return tokens[: max(1, round(share * len(tokens)))]


def average_by_unit(facts: TaskFacts, queries: NDArray[np.bool_]) -> Tensor:
    """[query, unit] weights of the mean over a unit's chosen queries; units without any are left out."""
    members = (facts.unit_of_query == np.arange(len(facts.units))[:, None]) & queries  # [unit, query]
    members = members[members.any(axis=1)]
    return torch.from_numpy(members / members.sum(axis=1, keepdims=True)).float().T
