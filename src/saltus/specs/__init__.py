"""Frozen, validated descriptions of what is run."""

from saltus.specs.base import Spec
from saltus.specs.models import ModelSpec, TransformerSpec
from saltus.specs.run import RunSpec
from saltus.specs.tasks import CellularAutomatonSpec, LinearMapSpec, TaskSpec
from saltus.specs.training import EmergenceSpec, ScheduleSpec, TrainingSpec

__all__ = [
    "CellularAutomatonSpec",
    "EmergenceSpec",
    "LinearMapSpec",
    "ModelSpec",
    "RunSpec",
    "ScheduleSpec",
    "Spec",
    "TaskSpec",
    "TrainingSpec",
    "TransformerSpec",
]
