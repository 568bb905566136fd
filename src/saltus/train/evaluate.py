"""What is measured of one seed at one step."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from saltus.models.decoder import Decoder
from saltus.tasks.base import Task, find_order
from saltus.train.evaluation import Evaluation

EVALUATION_TOKENS = 4096
"""Tokens of a forward pass: bounds the memory that the patterns of all layers and heads take."""


@torch.no_grad()
def evaluate_seed(
    model: nn.Module,
    weights: dict[str, Tensor],
    tokens: Tensor,
    task: Task,
    bias: Tensor | None,
    *,
    patterns: bool,
) -> Evaluation:
    """Evaluate `model` with `weights` on `tokens` [sequence, token] of `task`, attention biased by `bias`, if any.

    `model` is a `Decoder`, or without `patterns` whatever gives logits as one does; with no weights it has its own.
    """
    facts = task.facts
    candidates = torch.from_numpy(facts.candidates).to(tokens.device)
    scored = torch.from_numpy(facts.scored).to(tokens.device)
    exact_type = choose_exact(tokens.device)
    named = {f"model.{name}": value for name, value in weights.items()}
    sums: list[Tensor] = []
    exact = 0.0
    for raw in tokens.split(max(1, EVALUATION_TOKENS // facts.length)):
        part = raw.long()
        logits, attention = functional_call(WithPatterns(model, patterns), named, (part[:, :-1], bias))
        log_probability = torch.log_softmax(logits, -1).gather(-1, part[:, 1:, None]).squeeze(-1)  # [n, q]
        right = logits.argmax(-1) == part[:, 1:]
        order = find_order(task, raw.cpu().numpy())
        places = None if order is None else torch.from_numpy(order).to(tokens.device)  # [n, q]
        if places is not None:
            log_probability, right = log_probability.gather(1, places), right.gather(1, places)
        values = [
            -log_probability.to(exact_type).sum(0),
            right.to(exact_type).sum(0),
            log_probability.to(exact_type).exp().sum(0),
        ]
        if attention:
            stacked = torch.stack(attention, dim=1)  # [n, layer, h, q, k]
            if places is not None:
                stacked = stacked.take_along_dim(places[:, None, None, :, None], dim=3)
            surprise = torch.special.entr(stacked) * candidates
            values += [surprise.sum(-1).to(exact_type).sum(0), stacked.to(exact_type).sum(0)]
            if facts.varies:
                truth = torch.from_numpy(task.truth_of(raw.cpu().numpy())).to(tokens.device)
                if places is not None:
                    truth = truth.take_along_dim(places[:, :, None], dim=1)
                values += [measure.sum(0) for measure in align(stacked, truth[:, None, None])]
        sums = [a + b for a, b in zip(sums, values, strict=True)] if sums else values
        exact += float((right | ~scored).all(-1).sum())
    loss, accuracy, probability, *attended = ((value / len(tokens)).cpu().numpy() for value in sums)
    exact /= len(tokens)
    if not attended:  # and nothing of queries by keys is made: contexts may be long
        none, no_pattern = np.zeros((0, 0, facts.queries)), np.zeros((0, 0, facts.queries, facts.queries), np.float32)
        return Evaluation(loss, accuracy, probability, exact, none, none, none, no_pattern)
    entropy, pattern, *own = attended
    pattern = pattern.astype(np.float32)
    mass, overlap = own or (m.numpy() for m in align(torch.from_numpy(pattern), torch.from_numpy(facts.truth)))
    return Evaluation(loss, accuracy, probability, exact, entropy, mass, overlap, pattern)


def choose_exact(device: torch.device) -> torch.dtype:
    """What sums are taken in: float64, but on Apple's GPUs, which do not have it."""
    return torch.float32 if device.type == "mps" else torch.float64


def align(pattern: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Attention on the true keys, and the share of a query's s true keys among its s most attended keys.

    [..., query, key], and truth of as many axes or one that broadcasts -> two float64 tensors [..., query]; 0 where a
    query has no true keys. Of keys with equal attention the first is taken, so that one after the query never is.
    """
    keys = torch.arange(pattern.shape[-1], device=pattern.device)
    needed = truth.sum(-1)  # [..., query]
    mass = (pattern * truth).sum(-1, dtype=choose_exact(pattern.device))
    hits = torch.zeros_like(mass)
    places = truth.byte().argsort(dim=-1, descending=True, stable=True)  # the true keys first
    for rank in range(int(needed.max())):
        place = places[..., rank, None]
        weight = pattern.gather(-1, place.expand(*pattern.shape[:-1], 1))
        behind = (pattern < weight) | ((pattern == weight) & (keys >= place))  # itself too, and none where it is NaN
        ahead = (~behind).sum(-1)
        hits += (rank < needed) & (ahead < needed)
    return mass, hits / needed.clamp(min=1)


class WithPatterns(nn.Module):
    """`functional_call` goes through `forward`; this one returns the patterns too, where they are asked for.

    The names of its weights begin with `model.`.
    """

    def __init__(self, model: nn.Module, patterns: bool) -> None:
        super().__init__()
        self.model, self.patterns = model, patterns

    def forward(self, tokens: Tensor, bias: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `Decoder.forward_with_patterns`, or without any."""
        if not self.patterns:
            return self.model(tokens, bias), ()
        return cast("Decoder", self.model).forward_with_patterns(tokens, bias)
