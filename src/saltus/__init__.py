"""saltus: when a capability appears in training, why, how reliably over seeds, and how to make it come sooner."""

from saltus import api, specs
from saltus.api import compare, fit, plan, read, split
from saltus.curves import Curve, Curves, Emergence, Emergences, Key, Rule
from saltus.errors import SaltusError
from saltus.specs import *
from saltus.studies.cells import Cell
from saltus.studies.race import Race
from saltus.studies.study import Study
from saltus.tasks.base import TaskFacts

__all__ = [
    "Cell",
    "Curve",
    "Curves",
    "Emergence",
    "Emergences",
    "Key",
    "Race",
    "Rule",
    "SaltusError",
    "Study",
    "TaskFacts",
    "api",
    "compare",
    "fit",
    "plan",
    "read",
    "split",
]
__all__ += specs.__all__
