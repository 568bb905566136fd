"""What can be done, in the words of the command line. The only place where the parts of saltus are put together."""

from saltus.api.checkpoints import DEFAULT_POCKETS, audit, patch, pocket, scan
from saltus.api.folders import DEFAULT_REPORT, DEFAULT_ROOT, Folder, Listing, describe, find, ls, report, show
from saltus.api.pooling import Pool, pool
from saltus.api.reading import read
from saltus.api.runs import run, run_all
from saltus.api.splitting import split
from saltus.api.statistics import Arms, compare, find_emergences, fit, plan
from saltus.api.studies import DEFAULT_KEPT, draw_results, keep_results, run_study
from saltus.api.watching import DEFAULT_PORT, watch, watch_beside

__all__ = [
    "DEFAULT_KEPT",
    "DEFAULT_POCKETS",
    "DEFAULT_PORT",
    "DEFAULT_REPORT",
    "DEFAULT_ROOT",
    "Arms",
    "Folder",
    "Listing",
    "Pool",
    "audit",
    "compare",
    "describe",
    "draw_results",
    "find",
    "find_emergences",
    "fit",
    "keep_results",
    "ls",
    "patch",
    "plan",
    "pocket",
    "pool",
    "read",
    "report",
    "run",
    "run_all",
    "run_study",
    "scan",
    "show",
    "split",
    "watch",
    "watch_beside",
]
