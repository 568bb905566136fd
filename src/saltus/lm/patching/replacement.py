"""What is put in the place of a head's attention: another model's pattern on the same prompts, or a control.

With `stage` 'scores' the replacement is made of masked scores, before the softmax, which then follows. Whole rows are
replaced, so that scores as they are ('own') and permuted ones give what patterns give, up to rounding; the mean of
scores is another thing than the mean of patterns, and zero scores are the uniform pattern.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from saltus.errors import SaltusError
from saltus.lm.capabilities.batches import PromptBatch
from saltus.lm.memory import explain_memory, run_in_parts
from saltus.lm.patching.rerun import check_attention, run_reference
from saltus.lm.patching.tap import normalise

Stage = Literal["scores", "pattern"]
Queries = Literal["all", "last"]
Source = Literal["own", "shuffled", "zero", "mean", "resample", "uniform"]


@dataclass(frozen=True)
class CapturedAttention:
    """The attention of a model on the prompts of a batch."""

    values: Tensor
    """[layer, prompt, head, live query, key] patterns, or masked scores."""
    allowed: Tensor
    """[layer, live query, key] whether the mask lets the query see the key."""
    stage: Stage
    unpatched: Tensor
    """[prompt] log probability of the target, in nats."""
    difference: Tensor
    """[prompt] logit of the target less that of its best foil, in nats; NaN without foils of one token."""


def capture_attention(
    model: PreTrainedModel, batch: PromptBatch, stage: Stage, queries: Queries, rows: int
) -> CapturedAttention:
    """The attention of all queries, or of the last ones alone: those that predict the target."""
    live = batch.tokens.shape[1] if queries == "all" else batch.scored

    def read(part: slice) -> CapturedAttention:
        some = batch.take(part)
        reference = run_reference(model, some.tokens, live, some.scored)
        check_attention(reference, some.tokens)
        layers = reference.attention
        return CapturedAttention(
            values=torch.stack([seen.pattern if stage == "pattern" else seen.scores for seen in layers]),
            allowed=torch.stack([seen.allowed for seen in layers]),
            stage=stage,
            unpatched=some.score(reference.logits),
            difference=some.compare(reference.logits),
        )

    with explain_memory():
        attention = run_in_parts(read, len(batch.index), rows)
    return CapturedAttention(
        values=torch.cat([captured.values for captured in attention], dim=1),
        allowed=attention[0].allowed,
        stage=stage,
        unpatched=torch.cat([captured.unpatched for captured in attention]),
        difference=torch.cat([captured.difference for captured in attention]),
    )


def make_replacement(captured: CapturedAttention, source: Source, generator: np.random.Generator) -> Tensor:
    """Patterns [layer, prompt, head, live query, key] to put in.

    'own': as read. 'shuffled': the allowed keys of each query permuted at random. 'zero': nothing is attended to.
    'mean': over the prompts. 'resample': of another prompt. 'uniform': over the allowed keys. `generator` is drawn
    from for 'shuffled' and 'resample'. 'resample' needs two prompts, or it is a `SaltusError`.
    """
    values, allowed = captured.values, captured.allowed[:, None, None]  # [layer, 1, 1, query, key]
    match source:
        case "own":
            made = values
        case "shuffled":
            made = _permute_keys(values, allowed, generator)
        case "zero":
            made = torch.zeros_like(values)
        case "mean":
            made = values.double().mean(1, keepdim=True).to(values.dtype).expand_as(values)
        case "resample":
            made = values[:, _draw_partners(values.shape[1], generator)]
        case "uniform":
            made = torch.zeros_like(values) if captured.stage == "scores" else (allowed / allowed.sum(-1, keepdim=True))
            made = made.to(values.dtype).expand_as(values)
        case _:
            raise SaltusError(f"source is {source!r}; allowed are {', '.join(get_args(Source))}")
    if captured.stage == "pattern":
        return made
    return normalise(made.masked_fill(~allowed, torch.finfo(made.dtype).min))


def _permute_keys(values: Tensor, allowed: Tensor, generator: np.random.Generator) -> Tensor:
    """Each row's allowed keys in an order of its own; the others stay."""
    draws = torch.from_numpy(generator.random(values.shape, dtype=np.float32)).to(values.device)
    drawn = draws.masked_fill(~allowed, 2.0).argsort(dim=-1, stable=True)  # allowed keys first, in a random order
    plain = (~allowed).to(torch.uint8).argsort(dim=-1, stable=True).expand_as(drawn)  # allowed keys first, in order
    return torch.empty_like(values).scatter_(-1, plain, values.gather(-1, drawn))


def _draw_partners(prompts: int, generator: np.random.Generator) -> Tensor:
    """For each prompt another one; nobody is chosen twice."""
    if prompts < 2:
        raise SaltusError("resample needs at least 2 prompts of the same length; give more prompts")
    circle = torch.from_numpy(generator.permutation(prompts))
    partners = torch.empty_like(circle)
    partners[circle] = circle.roll(1)
    return partners
