"""A linear recurrence of diagonal form, in parallel over time."""

import torch
from torch import Tensor


def linear_scan(decay: Tensor, drive: Tensor) -> Tensor:
    """The states h_t = decay_t * h_{t-1} + drive_t from h_{-1} = 0: [n, q, ...] twice -> [n, q, ...].

    Each two steps are joined into one, the recurrence of half the length is solved for every second state, and those
    give the states between: O(q) products in O(log q) rounds (Blelloch 1990, "Prefix sums and their applications",
    section 1.4). Nothing is divided by a decay, so small ones are as exact as others.
    """
    q = drive.shape[1]
    if q == 1:
        return drive
    pairs = q // 2
    even_decay, odd_decay = decay[:, ::2], decay[:, 1::2]
    even, odd = drive[:, ::2], drive[:, 1::2]
    odd = linear_scan(odd_decay * even_decay[:, :pairs], odd_decay * even[:, :pairs] + odd)  # h_1, h_3, ...
    even = torch.cat([even[:, :1], even_decay[:, 1:] * odd[:, : q - pairs - 1] + even[:, 1:]], dim=1)  # h_0, h_2, ...
    woven = torch.stack([even[:, :pairs], odd], dim=2).flatten(1, 2)  # [n, pairs, 2, ...] -> [n, 2 * pairs, ...]
    return torch.cat([woven, even[:, pairs:]], dim=1)
