"""The temperature of attention: logits times a factor, which is one on the queries, or on values as the placebo."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from saltus.lm.pocket.interventions.base import Around, Intervention
from saltus.specs import TemperatureSpec

PART = {"queries": 0, "values": 2}
"""The place of what is multiplied among the queries, keys and values of a head."""


class Temperature(Intervention):
    """Rotary positions turn a query and leave its length alone, so a factor before them is one on the logits."""

    def __init__(self, spec: TemperatureSpec, around: Around, generator: np.random.Generator) -> None:
        super().__init__(spec, around, generator)
        self._spec = spec

    def factors(self, step: int) -> Mapping[int, Tensor]:
        """As `Intervention.factors`."""
        spec, model = self._spec, self.around.model
        factor = spec.anneal(spec.factor, spec.last, step)
        if factor == 1.0:
            return {}
        rows = torch.ones(model.heads, 3, model.d_model // model.heads)  # as GPT-NeoX keeps them
        rows[slice(None) if spec.heads is None else list(spec.heads), PART[spec.rows]] = factor
        return dict.fromkeys(range(model.layers) if spec.layers is None else spec.layers, rows.flatten())
