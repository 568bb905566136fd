"""Results of pocket suites: curves of a capability that a scan measured, and how they are kept."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from saltus.curves import Curve, Curves, Key, Rule
from saltus.errors import SaltusError
from saltus.specs.pocket import PocketSpec
from saltus.storage.files import write_file
from saltus.storage.tables import read_table, write_table
from saltus.studies.cells import Keys
from saltus.studies.flops import Cost, price_pocket
from saltus.studies.tried import Setting, Tried

WHOLE = "whole capability"
"""The unit that stands for all of a capability's prompts: there where the set is."""

_CURVES = pa.schema(
    [
        ("suite", pa.string()),  # the hash of its description
        ("keys", pa.string()),  # of the cell, JSON
        ("description", pa.string()),  # JSON
        ("unit", pa.string()),
        ("seed", pa.string()),
        ("step", pa.int32()),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True)
class PocketResult(Tried[PocketSpec]):
    """What a scan found in a suite of one size."""

    own: Keys
    suite: PocketSpec
    measured: Curves
    """Of the set of a capability's prompts, a curve for each seed."""

    @property
    def key(self) -> Keys:
        """The keys by which it is found."""
        return self.own

    @property
    def setting(self) -> Setting:
        """The learning rate and the scale of the initialisation."""
        return self.suite.learning_rate, self.suite.initialisation_scale

    @property
    def budget(self) -> int:
        """Steps that it was trained for."""
        return self.suite.steps

    @property
    def curves(self) -> Curves:
        """The set of prompts, which is the only unit, and so the whole too."""
        whole = tuple(replace(curve, key=curve.key._replace(unit=WHOLE)) for curve in self.measured)
        return replace(self.measured, curves=(*self.measured, *whole), whole=WHOLE)

    def price(self, steps: float, teacher: PocketSpec | None = None) -> Cost:
        """As `price_pocket`."""
        return price_pocket(self.suite, steps, teacher)


def write_pockets(results: Sequence[PocketResult], path: Path) -> None:
    """Keep results as one Parquet table."""
    rows = [
        {
            "suite": result.suite.content_hash,
            "keys": json.dumps(dict(result.key)),
            "description": result.suite.model_dump_json(),
            "unit": curve.key.unit,
            "seed": curve.key.seed,
            "step": int(step),
            "value": float(value),
        }
        for result in results
        for curve in result.measured
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    write_file(path, partial(write_table, pa.Table.from_pylist(rows, schema=_CURVES)))


def read_pockets(path: Path, rule: Rule) -> list[PocketResult]:
    """What was kept at a path, read by a rule; nothing where there is none.

    Raises:
        SaltusError: if it is damaged.

    """
    if not path.exists():
        return []
    by_suite: dict[str, list[dict[str, object]]] = {}
    for row in read_table(path, _CURVES, _damaged).to_pylist():
        by_suite.setdefault(row["suite"], []).append(row)
    found: list[PocketResult] = []
    for rows in by_suite.values():
        suite = PocketSpec(**json.loads(str(rows[0]["description"])))
        curves: dict[Key, list[tuple[int, float]]] = {}
        for row in rows:
            key = Key(suite.models[0].name, str(row["seed"]), str(row["unit"]))
            curves.setdefault(key, []).append((int(str(row["step"])), float(str(row["value"]))))
        measured = tuple(
            Curve(key, np.array([step for step, _ in points]), np.array([value for _, value in points]))
            for key, points in curves.items()
        )
        found.append(PocketResult(json.loads(str(rows[0]["keys"])), suite, measure_share(measured, rule)))
    return found


def measure_share(curves: tuple[Curve, ...], rule: Rule) -> Curves:
    """Curves of the share of a capability's prompts that are right."""
    return Curves(curves, "share of right prompts", rule)


def _damaged(path: Path, what: str) -> SaltusError:
    return SaltusError(f"{path} {what}; bring it back from where it was copied from, or delete it to measure anew")
