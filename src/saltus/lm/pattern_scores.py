"""How much of each head's attention follows known patterns; read layer by layer, so that no pattern is kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from saltus.known_patterns import PatternMasks
from saltus.lm.capabilities.build import make_prompts
from saltus.lm.capabilities.repetition import list_ordinary
from saltus.lm.patching.tap import Tap, run_tapped
from saltus.specs.capabilities import RepetitionSpec

SEQUENCES, STRING = 8, 12
"""Of the probe batch: sequences, and tokens of the string that stands twice in each."""


@dataclass(frozen=True)
class PatternScores:
    """What the attention of every head does."""

    mass: NDArray[np.float64]
    """[layer, head, pattern]"""
    entropy: NDArray[np.float64]
    """[layer, head] in nats, mean over all queries but the first, which have nothing to choose."""
    first: NDArray[np.float32]
    """[layer, head, query, key] the attention on the first sequence."""


def make_probe_tokens(tokenizer: PreTrainedTokenizerBase, master_seed: int, *, bos: bool = False) -> NDArray[np.int64]:
    """The probe batch, [sequence, position]: random tokens that stand twice, so that every known pattern has queries.

    With `bos` the tokenizer's token for the beginning of a text stands before them.

    Raises:
        SaltusError: if the tokenizer has no two ordinary tokens, or no such token.

    """
    string = max(2, min(STRING, len(list_ordinary(tokenizer))))
    prompts = make_prompts(RepetitionSpec(prompts=SEQUENCES, tokens=string), tokenizer, master_seed, bos=bos)
    return np.array([[*prompt.tokens, *prompt.target] for prompt in prompts], dtype=np.int64)


def score_model(model: PreTrainedModel, masks: PatternMasks) -> PatternScores:
    """Every head of a model on transformers' attention interface.

    Raises:
        SaltusError: if a layer bypasses the interface, or the sequences are longer than the model's context.

    """
    scorer = PatternScorer(masks, model.device)
    layers: dict[int, PatternScores] = {}

    def read(layer: int, scores: Tensor, pattern: Tensor) -> Tensor:
        layers[layer] = scorer.score(pattern)
        return pattern

    with torch.no_grad():
        run_tapped(model, torch.from_numpy(masks.tokens).to(model.device), Tap(edit=read), use_cache=False)
    return join_layers(layers[layer] for layer in sorted(layers))


class PatternScorer:
    """Scores attention on one batch, where the attention is."""

    def __init__(self, masks: PatternMasks, device: torch.device) -> None:
        self._weights = torch.from_numpy(masks.weights).float().to(device)  # [pattern, sequence, query, key]

    def score(self, pattern: Tensor) -> PatternScores:
        """One layer's attention [sequence, head, query, key]; the axis of layers has length 1.

        Raises:
            ValueError: if it is not of the batch.

        """
        sequences, length = self._weights.shape[1:3]
        if pattern.ndim != 4 or (len(pattern), *pattern.shape[2:]) != (sequences, length, length):
            raise ValueError(
                f"attention has shape {tuple(pattern.shape)}; allowed is [sequence, head, query, key], here "
                f"({sequences}, heads, {length}, {length})"
            )
        attention = pattern.detach().float()
        mass = torch.einsum("shqk,nsqk->hn", attention, self._weights)
        entropy = torch.special.entr(attention[:, :, 1:]).sum(-1).mean((0, 2))
        mass, entropy, first = (part[None].cpu() for part in (mass, entropy, attention[0]))
        return PatternScores(mass.double().numpy(), entropy.double().numpy(), first.numpy())


def join_layers(layers: Iterable[PatternScores]) -> PatternScores:
    """The scores of all layers, which have the same number of heads."""
    every = list(layers)
    return PatternScores(
        np.concatenate([each.mass for each in every]),
        np.concatenate([each.entropy for each in every]),
        np.concatenate([each.first for each in every]),
    )


def tabulate_patterns(model: PreTrainedModel, masks: PatternMasks) -> list[dict[str, Any]]:
    """A row for each head and pattern, with pattern, layer, head, mass and chance; a single row with the reason alone.

    That is where attention cannot be read, which must not cost what else is known of a checkpoint.
    """
    try:
        scores = score_model(model, masks)
    except Exception as error:  # noqa: BLE001 - a foreign model may break the library in any way
        return [{"reason": " ".join(f"{type(error).__name__}: {error}".split())[:300]}]
    chance = dict(zip(masks.names, masks.chance.tolist(), strict=True))
    return [
        {"pattern": name, "layer": layer, "head": head, "mass": float(mass), "chance": chance[name]}
        for (layer, head, place), mass in np.ndenumerate(scores.mass)
        for name in [masks.names[place]]
    ]
