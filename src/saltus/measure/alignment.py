"""How well heads attend to the true pattern: the best head of each unit, and what chance would give it."""

from math import comb

import numpy as np
from numpy.typing import NDArray


def best_head(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Index and value of the best head for each unit: [..., head, unit] -> two arrays [..., unit].

    The best is the largest, the first of several that are equal. NaN is never the best; where every head is NaN the
    index is -1 and the value NaN.

    Taken for each unit because heads share the units among them: the best single head for all units understates such
    a model. A maximum over heads is above chance even for random heads; see `chance_overlap`.
    """
    if values.ndim < 2 or not values.shape[-2]:
        raise ValueError(f"values has shape {values.shape}; allowed is [..., head, unit] with at least one head")
    value = np.fmax.reduce(values, axis=-2)
    index = (values == value[..., None, :]).argmax(axis=-2)
    return np.where(np.isnan(value), -1, index), value


def chance_overlap(visible: int, sparsity: int, heads: int) -> float:
    """Expected share of the truth that the luckiest of `heads` random heads finds, from sparsity / visible up to 1.

    Each head picks `sparsity` of the `visible` keys uniformly and independently of the others, and its overlap is
    |picked and true| / sparsity, which is hypergeometric; the largest has mean sum_k P(max >= k) / sparsity with
    P(max >= k) = 1 - P(one < k)^heads. The probabilities are ratios of exact integers.
    """
    if not 1 <= sparsity <= visible:
        raise ValueError(f"sparsity is {sparsity}; allowed are 1 to the {visible} visible keys")
    if heads < 1:
        raise ValueError(f"heads is {heads}; allowed is at least 1")
    subsets = comb(visible, sparsity)
    ways = [comb(sparsity, hits) * comb(visible - sparsity, sparsity - hits) for hits in range(sparsity + 1)]
    return sum(1.0 - (sum(ways[:hits]) / subsets) ** heads for hits in range(1, sparsity + 1)) / sparsity
