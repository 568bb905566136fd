"""Numbers read off the authors' public figures: estimates, with a tolerance and their source in each file."""

import json
from collections.abc import Mapping
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
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def read_tolerance(name: str) -> float:
    """How far a number of a target may be off, as it was read off a figure: in its unit, for plateaus as a share."""
    return float(read_targets(name)["tolerance"])


def read_plateaus(*, biased: bool) -> Mapping[int, int]:
    """By S, the step at which the plateau of cellular automata ends, without or with the true pattern as a bias."""
    data = read_targets("cellular_automata_plateau")["data"]["biased" if biased else "standard"]
    return {int(size): step for size, step in data.items() if step is not None}


def read_passings() -> list[int]:
    """The steps at which the rows of the linear map (S=16, s=3) pass, one after the other."""
    return read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]


def read_fall() -> tuple[int, int]:
    """The least and the most steps that the fall of one row's loss takes."""
    low, high = read_targets("linear_map_jumps")["data"]["duration of one row's fall"]
    return low, high


def read_rows(size: int, sparsity: int) -> float | None:
    """The rows of the linear map that are learned, as a mean over seeds; None where their loss does not tell it."""
    rows = read_targets("linear_map_sparsity")["data"].get(f"S={size} rows learned by seed", {}).get(str(sparsity))
    return sum(rows) / len(rows) if rows else None
