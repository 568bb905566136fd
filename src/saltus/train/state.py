"""What is saved of a seed: its weights, and the optimiser's moments, without which it goes no further."""

import numpy as np
from numpy.typing import NDArray

SeedState = dict[str, NDArray[np.float32]]
"""Weights of a seed by name, and the optimiser's moments, flat, under names in `MOMENTS`."""

MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
"""What PyTorch's optimisers call what they keep of earlier gradients. A name of a weight is none of these."""


def split_state(state: SeedState) -> tuple[SeedState, SeedState]:
    """Weights and moments apart."""
    moments = {name: value for name, value in state.items() if name in MOMENTS}
    return {name: value for name, value in state.items() if name not in moments}, moments
