"""What is saved of a seed: its weights, and the optimiser's moments, without which it goes no further."""

from typing import Any

from numpy.typing import NDArray

SeedState = dict[str, NDArray[Any]]
"""Weights of a seed by name, and the optimiser's moments, flat, under names in `MOMENTS`, all of them float32; with a
curriculum also the steps at which its phases began, under `COURSE`."""

MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")
"""What PyTorch's optimisers call what they keep of earlier gradients. A name of a weight is none of these."""

COURSE = "course"
"""No weight has this name either."""


def split_state(state: SeedState) -> tuple[SeedState, SeedState]:
    """Weights apart from moments, and from whatever else it takes to go on."""
    moments = {name: value for name, value in state.items() if name in (*MOMENTS, COURSE)}
    return {name: value for name, value in state.items() if name not in moments}, moments
