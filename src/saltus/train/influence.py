"""How much each input token moves each prediction: the question of the truth map, asked of any architecture."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from saltus.models.decoder import Decoder
from saltus.train.evaluate import choose_exact


@torch.no_grad()
def measure_influence(
    model: Decoder, weights: dict[str, Tensor], tokens: Tensor, bias: Tensor | None, generator: np.random.Generator
) -> NDArray[np.float32]:
    """[query, key] how far the prediction at a query moves when the token at a key is another one, from 0 to 1.

    The distance is that of total variation between the two distributions over the next token, half the sum of
    absolute differences, averaged over `tokens` [sequence, token]; the other symbol is drawn for each sequence.
    Attention is biased by `bias`, if any. Keys after the query must come out as exactly 0: anything else is a leak of
    the future.
    """
    inputs = tokens[:, :-1].long()
    symbols = model.embedding.num_embeddings
    shift = torch.from_numpy(generator.integers(1, symbols, size=tuple(inputs.shape))).to(inputs.device)
    before = _predict(model, weights, inputs, bias)
    influence = np.zeros((inputs.shape[1], inputs.shape[1]), dtype=np.float32)
    for key in range(inputs.shape[1]):
        flipped = inputs.clone()
        flipped[:, key] = (flipped[:, key] + shift[:, key]) % symbols
        moved = (_predict(model, weights, flipped, bias) - before).abs().sum(-1) / 2  # [sequence, query]
        influence[:, key] = moved.to(choose_exact(moved.device)).mean(0).cpu().numpy()
    return influence


def _predict(model: Decoder, weights: dict[str, Tensor], inputs: Tensor, bias: Tensor | None) -> Tensor:
    """The distribution over the next token, [sequence, query, symbol]."""
    return torch.softmax(functional_call(model, weights, (inputs, bias)), -1)
