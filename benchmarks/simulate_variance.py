"""How often a variance split's intervals hold, and the splits of kept runs: writes results/statistics/variance.md.

About four minutes on one core.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from simulate import Ends, Row, draw_table, tabulate, usual_grid, watch

from saltus import api
from saltus.curves import Curves
from saltus.measure.intervals import Estimate
from saltus.measure.variance import Part, VarianceSplit, split_samples
from saltus.report.curves.words import format_share
from saltus.seeding import Streams
from saltus.train.archive import Archive

ROOT = Path(__file__).parents[1]
PAGE, RECORDS = ROOT / "results" / "statistics" / "variance.md", ROOT / "results" / "records"
MEDIAN, LEVEL = 1050.0, 0.95
REPEATS, DRAWS = 200, 500
SPREADS: Mapping[Part, float] = {"map": 0.2, "seed": 0.3, "row": 0.2, "rest": 0.25}
DESIGNS = {(1, 3, 16): "one map", (3, 4, 8): "few maps", (6, 4, 4): "more maps", (6, 4, 1): "whole task alone"}
"""Maps, seeds of each map, rows."""
NOTHING = 0.015
"""A lower limit of a share below it is shown as 0% or 1%."""

SETTINGS = ("jumps-near", "jumps-near-lr-3e-4", "jumps-near-warmup-1000", "jumps-near-init-double")
"""Runs that the calibration has on three maps, two seeds each (S=16, s=3)."""


def simulate(
    design: tuple[int, int, int], spreads: Mapping[Part, float], generator: np.random.Generator
) -> list[VarianceSplit]:
    """The splits of samples with these true spreads."""
    maps, seeds, rows = design
    m, s, r = (axis.ravel() for axis in np.meshgrid(*map(np.arange, design), indexing="ij"))
    ends: list[Ends] = []
    for _ in range(REPEATS):
        logs = spreads["map"] * generator.normal(size=maps)[m]
        logs += spreads["seed"] * generator.normal(size=(maps, seeds))[m, s]
        logs += spreads["row"] * generator.normal(size=(maps, rows))[m, r]
        logs += spreads["rest"] * generator.normal(size=len(m))
        ends.append(watch(MEDIAN * np.exp(logs), usual_grid()))
    left, right = zip(*ends, strict=True)
    return split_samples(left, right, m, s, r, generator, level=LEVEL, draws=DRAWS)


def measure_coverage(generator: np.random.Generator) -> list[Row]:
    """How often the intervals of spreads and shares hold the truth, of the parts that each design tells."""
    rows: list[Row] = []
    for design, name in DESIGNS.items():
        splits = simulate(design, SPREADS, generator)
        names = list(splits[0].spreads)
        whole = design[2] == 1
        truths: dict[Part, float] = {part: SPREADS[part] for part in names}
        if whole:  # the rest is then all that a seed has of its own
            truths["rest"] = float(np.sqrt(sum(spread**2 for part, spread in SPREADS.items() if part != "map")))
        total = sum(truth**2 for truth in truths.values())
        cells = (name, " x ".join(map(str, design)))
        for part, truth in truths.items():
            told = "seed" if whole and part == "rest" else part
            for what, count in (
                ("spread", sum(covers(split.spreads[part], truth) for split in splits)),
                ("share", sum(covers(split.shares[part], truth**2 / total) for split in splits)),
            ):
                rows.append(Row((*cells, f"{what} of the {told}"), count, REPEATS, LEVEL, True))
    return rows


def measure_claims(generator: np.random.Generator) -> list[Row]:
    """How often a part that is not there has a lower limit that says it is."""
    rows: list[Row] = []
    design = (3, 4, 8)
    absences: tuple[Part, ...] = ("map", "seed", "row")
    for absent in absences:
        spreads: dict[Part, float] = {part: 0.0 if part == absent else spread for part, spread in SPREADS.items()}
        found = [split.shares[absent].lower >= NOTHING for split in simulate(design, spreads, generator)]
        rows.append(Row((f"no {absent}", " x ".join(map(str, design))), sum(found), REPEATS, (1 - LEVEL) / 2, False))
    return rows


def split_kept() -> list[tuple[str, ...]]:
    """The splits of the kept runs on several maps, a line each."""
    archive, lines = Archive(RECORDS), list[tuple[str, ...]]()
    specs = {spec.name: spec for spec in archive.list_specs()}
    for setting in SETTINGS:
        parts: list[Curves] = []
        for name in (setting, f"{setting}-map-1", f"{setting}-map-2"):
            records = archive.find(specs[name])
            assert records is not None
            parts.append(records.curves.until(2_500))
        split = api.split(*parts)
        shares = [format_share(split.shares[part]) for part in ("map", "seed", "row", "rest")]
        assert split.agreement is not None
        lines.append((setting, f"{split.events} of {split.units}", *shares, f"{split.agreement.value:.2f}"))
    return lines


def covers(interval: Estimate, truth: float) -> int:
    """1 if the truth lies in the interval."""
    return int(interval.lower <= truth <= interval.upper)


def main() -> None:
    """Simulate, and write the page."""
    generator = Streams(0).generator("bootstrap")
    kept = split_kept()
    coverage, claims = measure_coverage(generator), measure_claims(generator)
    lines = [
        "# How much is the map, the seed, the row?",
        "",
        "Generated by `python benchmarks/simulate_variance.py`, not by hand. What is estimated and assumed:",
        "[statistics](../../docs/statistics.md).",
        "",
        "## Our runs on three maps",
        "",
        "Linear maps, S=16, s=3, two seeds on each of three maps, 2,500 steps; from the kept records.",
        "",
        *draw_table(("setting", "rows emerged", "map", "seed", "row", "rest", "rows agree"), kept),
        "Shares of the variance of log steps with 95% intervals. *Rows agree* is the correlation of log steps between",
        "two seeds of one map.",
        "",
        "## Coverage of 95% intervals",
        "",
        f"Log steps have the spreads {', '.join(f'{part} {spread}' for part, spread in SPREADS.items())} around a",
        f"median of {MEDIAN:,.0f} steps, evaluated every 100 steps until step 2,000, so that some are censored. A",
        "design is maps x seeds of each map x rows.",
        "",
        *tabulate(("", "design", "interval of"), coverage, f"covers (of {REPEATS})"),
        "## A part that is not there",
        "",
        "How often the lower limit of its share is 1.5% or more, and so not shown as 0% or 1%.",
        "",
        *tabulate(("", "design"), claims, f"said to be there (of {REPEATS})"),
    ]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
