"""A clamped pattern: queries of 0, and a bias that leaves the chosen keys alone."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from saltus.specs import ClampSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task
from saltus.train.interventions.base import Intervention
from saltus.train.interventions.keys import choose_keys, find_heads, spread_factor

NEVER = -1e4
"""A logit beside which one of 0 has all of the attention: its exponential is 0 in float32."""


class Clamp(Intervention):
    """Chosen heads attend evenly to the chosen keys, whatever they have learned, until they are released."""

    def __init__(self, spec: ClampSpec, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        """Refused where the truth varies, since a pattern is one for all sequences."""
        super().__init__(spec, model, task, generator)
        self._until = spec.until
        keys = choose_keys(spec.toward == "placebo", task.facts, generator)
        others = ~keys & keys.any(axis=1, keepdims=True)  # none of a query without chosen keys
        where = find_heads(spec, model)[:, :, None, None] & others
        self._added = torch.from_numpy(np.where(where, np.float32(NEVER), np.float32(0.0)))
        self._nothing = torch.zeros_like(self._added)
        self._factors, self._ones = spread_factor(spec, model, 0, 0.0), dict[str, Tensor]()

    def logits(self, step: int) -> Tensor:
        """As `Intervention.logits`: zeros once it is released."""
        return self._nothing if self._is_released(step) else self._added

    def factors(self, step: int) -> Mapping[str, Tensor]:
        """As `Intervention.factors`: none once it is released."""
        return self._ones if self._is_released(step) else self._factors

    def _is_released(self, step: int) -> bool:
        return self._until is not None and step >= self._until
