"""Frozen, validated descriptions of what is run."""

from saltus.specs import curricula, interventions, models, tasks
from saltus.specs.base import Spec
from saltus.specs.curricula import *
from saltus.specs.data import DataSpec
from saltus.specs.interventions import *
from saltus.specs.models import *
from saltus.specs.run import RunSpec
from saltus.specs.tasks import *
from saltus.specs.training import EmergenceSpec, ScheduleSpec, TrainingSpec

__all__ = ["DataSpec", "EmergenceSpec", "RunSpec", "ScheduleSpec", "Spec", "TrainingSpec"]
__all__ += curricula.__all__
__all__ += interventions.__all__
__all__ += models.__all__
__all__ += tasks.__all__
