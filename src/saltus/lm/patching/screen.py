"""Which heads to patch first: the first-order effect of all of them from one backward pass."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from saltus.lm.memory import explain_memory, run_in_parts
from saltus.lm.patching.heads import Case, Heads, list_shape, place_prompts
from saltus.lm.patching.tap import Tap, run_tapped


def rank_heads(effects: NDArray[np.float64]) -> Heads:
    """All heads by their mean effect over prompts, the largest first; `effects` is [layer, head, prompt]."""
    means = effects.mean(axis=2)
    order = np.argsort(-means, axis=None, kind="stable")
    return tuple((int(layer), int(head)) for layer, head in np.stack(np.unravel_index(order, means.shape), axis=1))


def estimate_effects(model: PreTrainedModel, cases: Sequence[Case], rows: int) -> NDArray[np.float64]:
    """First-order change [layer, head, prompt] of the target's probability when a head's pattern is replaced.

    The gradient with respect to the pattern, times (replacement - pattern), summed over queries and keys. At most
    `rows` sequences are in a pass.
    """
    places = place_prompts(cases)
    estimated = np.empty((*list_shape(cases), sum(map(len, places))))
    for case, place in zip(cases, places, strict=True):
        with explain_memory():
            parts = run_in_parts(lambda part, case=case: _estimate(model, case.take(part)), len(place), rows)
        estimated[:, :, place] = torch.cat(parts, dim=2).double().cpu().numpy()
    return estimated


def _estimate(model: PreTrainedModel, case: Case) -> Tensor:
    """[layer, head, prompt]"""
    patterns: dict[int, Tensor] = {}
    nudges: dict[int, Tensor] = {}

    def nudge(layer: int, scores: Tensor, pattern: Tensor) -> Tensor:
        patterns[layer] = pattern.detach()
        nudges[layer] = torch.zeros_like(pattern, requires_grad=True)
        return pattern + nudges[layer]

    with torch.enable_grad():
        logits = run_tapped(
            model, case.batch.tokens, Tap(edit=nudge), use_cache=False, logits_to_keep=case.batch.scored
        )
        score = case.batch.score(logits[:, -case.batch.scored :])  # [prompt]
        layers = sorted(nudges)
        # of the log, which does not underflow where the probability does
        slopes = torch.autograd.grad(score.sum(), [nudges[layer] for layer in layers])
    live = case.replacement.shape[-2]
    effects = [
        (slope[:, :, -live:] * (case.replacement[layer] - patterns[layer][:, :, -live:])).double().sum((-2, -1))
        for layer, slope in zip(layers, slopes, strict=True)
    ]  # each [prompt, head]
    return (torch.stack(effects) * score.detach().double().exp()[:, None]).transpose(1, 2)  # [layer, head, prompt]
