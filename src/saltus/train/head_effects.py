"""What came of changing heads of a trained seed: losses by unit. Measured by `train.surgery`, which needs torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Changed:
    """The loss with some heads changed."""

    kind: str
    """One of those that a transplant or an ablation lists."""
    layer: int | None
    """None for all layers."""
    head: int | None
    """None for all heads."""
    loss: NDArray[np.float64]
    """[unit] in nats, on the evaluation sequences."""


@dataclass(frozen=True)
class Transplant:
    """Patterns of a donor in a recipient: kinds `head`, `layer` and `all`, and the controls.

    `self` puts the recipient's own patterns in, which changes nothing; `placebo` those of a seed at its first
    checkpoint; `matched` those of the donor, each in the head of the recipient whose pattern is most like it.
    """

    units: tuple[str, ...]
    recipient: NDArray[np.float64]
    """[unit] its loss as it is, in nats."""
    donor: NDArray[np.float64]
    """[unit] its loss as it is, in nats."""
    changed: tuple[Changed, ...]

    def recovered(self, loss: NDArray[np.float64]) -> NDArray[np.float64]:
        """[unit] the share of the gap between recipient and donor that a change closes; NaN where there is no gap."""
        gap = self.recipient - self.donor
        return np.where(gap > 0, self.recipient - loss, np.nan) / np.where(gap > 0, gap, 1.0)

    def recovered_of_all(self, loss: NDArray[np.float64]) -> float:
        """The same of the mean over the units."""
        gap = float(self.recipient.mean() - self.donor.mean())
        return float(self.recipient.mean() - loss.mean()) / gap if gap > 0 else float("nan")

    def of(self, kind: str) -> Changed:
        """The only one of a kind, such as `all`."""
        (found,) = (each for each in self.changed if each.kind == kind)
        return found


@dataclass(frozen=True)
class Ablation:
    """Each head alone without its output: kind `zero`, and `mean`, its mean over the evaluation sequences."""

    units: tuple[str, ...]
    whole: NDArray[np.float64]
    """[unit] the loss with all heads, in nats."""
    changed: tuple[Changed, ...]

    def find_worst(self, kind: str, unit: int) -> Changed:
        """The head whose loss costs a unit most."""
        return max((each for each in self.changed if each.kind == kind), key=lambda each: each.loss[unit])
