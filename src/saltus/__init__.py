"""saltus: when a capability appears in training, why, how reliably over seeds, and how to make it come sooner."""

from saltus import api
from saltus.errors import SaltusError
from saltus.specs import (
    CellularAutomatonSpec,
    EmergenceSpec,
    LinearMapSpec,
    RunSpec,
    ScheduleSpec,
    TrainingSpec,
    TransformerSpec,
)

__all__ = [
    "CellularAutomatonSpec",
    "EmergenceSpec",
    "LinearMapSpec",
    "RunSpec",
    "SaltusError",
    "ScheduleSpec",
    "TrainingSpec",
    "TransformerSpec",
    "api",
]
