"""Defaults and types of what `saltus.api` is given: light, for the command line shows them before all else."""

from os import PathLike
from pathlib import Path
from typing import Literal

AnyPath = str | PathLike[str]
"""A path, or its text."""

Arms = Literal["folder", "group"]
"""What an arm of a comparison is."""

EngineName = Literal["local", "ray", "slurm"]
"""Where runs and scans are done: here, on a Ray cluster, or as jobs of Slurm."""

DEFAULT_ROOT = Path("runs")
DEFAULT_POCKETS = Path("pockets")
DEFAULT_KEPT = Path("results/records")
DEFAULT_REPORT = Path("report.html")
DEFAULT_PORT = 8642
