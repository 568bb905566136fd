"""Watch a training that saltus does not control: when capabilities and known patterns come, at a cost that is bounded.

Folders of monitored trainings are read without torch, so `Monitor` is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from saltus.extras import require_extra

if TYPE_CHECKING:
    from saltus.monitor.monitor import Monitor

__all__ = ["Monitor"]


def __getattr__(name: str) -> Any:
    if name != "Monitor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_extra("lm", "a monitor")
    from saltus.monitor.monitor import Monitor

    return Monitor
