"""Which numbers dropout leaves at a step of a seed: drawn, not left to PyTorch's generator.

So a compiled step, a stacked one and one in micro-batches drop the same, and a resumed run needs no generator state.
"""

import numpy as np
from numpy.typing import NDArray

from saltus.seeding import Streams
from saltus.specs import RunSpec


def draw_kept(spec: RunSpec, seed: int, step: int) -> NDArray[np.bool_]:
    """[sequence, branch, query, d_model], of a stream that depends on master seed, seed and step alone."""
    shape = (spec.batch, spec.model.branches, spec.task.tokens - 1, spec.model.d_model)
    generator = Streams(spec.master_seed).generator("dropout", seed, step)
    return generator.random(shape, dtype=np.float32) >= spec.model.dropout
