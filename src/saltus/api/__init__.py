"""What can be done, in the words of the command line. The only place where the stages are put together."""

from saltus.api.checkpoints import DEFAULT_POCKETS, audit, find_audit, patch, pocket, scan
from saltus.api.folders import DEFAULT_REPORT, DEFAULT_ROOT, Folder, find, ls, report, show
from saltus.api.runs import run

__all__ = [
    "DEFAULT_POCKETS",
    "DEFAULT_REPORT",
    "DEFAULT_ROOT",
    "Folder",
    "audit",
    "find",
    "find_audit",
    "ls",
    "patch",
    "pocket",
    "report",
    "run",
    "scan",
    "show",
]
