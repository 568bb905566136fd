"""Numbers read off the authors' public figures: estimates, with a tolerance and their source in each file."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from saltus.errors import SaltusError


@cache
def read_targets(name: str) -> dict[str, Any]:
    """One of the files in `saltus/paper/targets`: `source`, `setting`, `tolerance` and `data`."""
    folder = files("saltus.paper") / "targets"
    there = sorted(path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json"))
    if name not in there:
        raise SaltusError(f"targets: {name!r} was given; there are {', '.join(there)}")
    return json.loads((folder / f"{name}.json").read_text())
