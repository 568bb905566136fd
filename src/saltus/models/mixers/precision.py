"""Where bfloat16 is not enough: scans, exponentials, cumulative sums, triangular solves."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute a function of tensors in float32 at least, whatever autocast would have made of it."""

    @functools.wraps(function)
    def widened(*tensors: Tensor) -> Tensor:
        wide = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors]
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(*wide)

    return widened
