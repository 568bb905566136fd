"""The temperature of attention: logits times a factor, which is one on the weights that make the queries."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from saltus.specs import TemperatureSpec
from saltus.specs.models import BackboneSpec
from saltus.tasks.base import Task
from saltus.train.interventions.base import Intervention
from saltus.train.interventions.keys import spread_factor

PART = {"queries": 0, "values": 2}
"""The place of what is multiplied among queries, keys and values."""


class Temperature(Intervention):
    """Query rows times 1/T; the same of value rows, which moves no attention, is the placebo."""

    def __init__(self, spec: TemperatureSpec, model: BackboneSpec, task: Task, generator: np.random.Generator) -> None:
        super().__init__(spec, model, task, generator)
        self._temperature = spec
        self._factor = 1.0
        self._factors: dict[str, Tensor] = {}

    def factors(self, step: int) -> Mapping[str, Tensor]:
        """As `Intervention.factors`."""
        spec = self._temperature
        factor = spec.anneal(spec.factor, spec.last, step)
        if factor != self._factor:
            self._factor, self._factors = factor, spread_factor(spec, self.model_spec, PART[spec.rows], factor)
        return self._factors
