"""What can be done, in the words of the command line. The only place where the parts of saltus are put together."""

from saltus.api.checkpoints import audit, patch, pocket
from saltus.api.export import export
from saltus.api.folders import Folder, Listing, describe, find, ls, report, show
from saltus.api.jobs import open_engine
from saltus.api.models import ablate, find_run, load_model, transplant
from saltus.api.pooling import Pool, pool
from saltus.api.reading import read
from saltus.api.runs import run, run_all
from saltus.api.scanning import plan_scan, scan
from saltus.api.shelves import WatchedStudy
from saltus.api.splitting import split
from saltus.api.statistics import compare, find_emergences, fit, plan
from saltus.api.studies import draw_results, keep_results, plan_study, run_study
from saltus.api.trials import measure_pockets
from saltus.api.watching import watch, watch_beside
from saltus.arguments import DEFAULT_KEPT, DEFAULT_POCKETS, DEFAULT_PORT, DEFAULT_REPORT, DEFAULT_ROOT, Arms
from saltus.studies.study import load_study

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
    "WatchedStudy",
    "ablate",
    "audit",
    "compare",
    "describe",
    "draw_results",
    "export",
    "find",
    "find_emergences",
    "find_run",
    "fit",
    "keep_results",
    "load_model",
    "load_study",
    "ls",
    "measure_pockets",
    "open_engine",
    "patch",
    "plan",
    "plan_scan",
    "plan_study",
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
    "transplant",
    "watch",
    "watch_beside",
]
