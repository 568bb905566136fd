"""Print the lowest versions that pyproject.toml allows, one a line; without torch, which comes by the gigabyte."""

import sys
import tomllib
from pathlib import Path

read = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
project, builder = read["project"], read["build-system"]["requires"]
extras = [line for extra in project["optional-dependencies"].values() for line in extra]
ranges = {*builder, *project["dependencies"], *extras}
sys.stdout.write("\n".join(sorted(line.replace(">=", "==") for line in ranges if not line.startswith("torch"))) + "\n")
