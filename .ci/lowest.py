"""Print the lowest versions that pyproject.toml allows, one a line; without torch, which comes by the gigabyte."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ranges = {*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)}
sys.stdout.write("\n".join(sorted(line.replace(">=", "==") for line in ranges if not line.startswith("torch"))) + "\n")
