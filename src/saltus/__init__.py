"""saltus: when a capability appears in training, why, how reliably over seeds, and how to make it come sooner."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saltus import specs
from saltus.curves import Curve, Curves, Emergence, Emergences, Key, Rule, gather_curves
from saltus.errors import SaltusError
from saltus.specs import *
from saltus.tasks.base import TaskFacts

if TYPE_CHECKING:
    from saltus import api
    from saltus.api import compare, fit, load_model, plan, pool, read, split
    from saltus.studies.cells import Cell
    from saltus.studies.race import Race
    from saltus.studies.study import Study

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
    "gather_curves",
    "load_model",
    "plan",
    "pool",
    "read",
    "split",
]
__all__ += specs.__all__

_LATE = {
    "Cell": "saltus.studies.cells",
    "Race": "saltus.studies.race",
    "Study": "saltus.studies.study",
    "compare": "saltus.api",
    "fit": "saltus.api",
    "load_model": "saltus.api",
    "plan": "saltus.api",
    "pool": "saltus.api",
    "read": "saltus.api",
    "split": "saltus.api",
}
"""Where names lie that are imported when they are first used: tables, statistics and figures take a second to load."""


def __getattr__(name: str) -> Any:
    if name == "api":
        return import_module("saltus.api")
    if name not in _LATE:
        raise AttributeError(f"module 'saltus' has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
