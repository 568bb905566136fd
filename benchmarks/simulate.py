"""How often the intervals hold and the tests err, by simulation: writes results/statistics.md.

python benchmarks/simulate.py
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from scipy import stats

from saltus.errors import SaltusError
from saltus.measure.bootstrap import bootstrap_seeds
from saltus.measure.interval_tests import compare_arms
from saltus.measure.intervals import Estimate, Floats, bound_share
from saltus.measure.parametric import fit_steps
from saltus.measure.scores import ScoreKind
from saltus.measure.survival import estimate_survival
from saltus.measure.turnbull import estimate_turnbull
from saltus.seeding import Streams

PAGE = Path(__file__).parent.parent / "results" / "statistics.md"
MEDIAN, SPREAD, BUDGET, EVERY = 1050.0, 0.45, 2000.0, 100.0
"""The true median lies between two evaluations: on one of them, both limits would gain a cell."""
DRAWS = 500
LEVEL, ALPHA = 0.95, 0.05
ROWS, BETWEEN, WITHIN = 8, 0.4, 0.2
"""Rows of a run; standard deviations of natural log steps between runs, and between the rows of one run."""
PYTHIA = np.array([0, *(2**i for i in range(10)), 1000, *range(3000, 144_000, 10_000)], dtype=np.float64)

Ends = tuple[Floats, Floats]


@dataclass(frozen=True)
class Row:
    """How often something happened, and how often it should have."""

    cells: tuple[str, ...]
    count: int
    repeats: int
    nominal: float
    at_least: bool
    """Whether the nominal share is the least allowed (coverage), or the greatest (errors)."""

    @property
    def share(self) -> float:
        """Of the repeats."""
        return self.count / self.repeats

    @property
    def error(self) -> float:
        """Monte Carlo standard error if the true share were nominal."""
        return float(np.sqrt(self.nominal * (1.0 - self.nominal) / self.repeats))

    @property
    def verdict(self) -> str:
        """What is beyond nominal by more than 3 standard errors does harm on one side, wastes seeds on the other."""
        beyond = self.nominal - self.share if self.at_least else self.share - self.nominal
        if abs(beyond) <= 3.0 * self.error:
            return "holds"
        return "**not nominal**" if beyond > 0.0 else "conservative"


def watch(steps: Floats, grid: Floats) -> Ends:
    """The intervals (left, right] of `grid` in which `steps` [unit] fall; inf beyond its last evaluation."""
    ends = np.concatenate([grid, [np.inf]])
    at = np.searchsorted(grid, steps)
    return np.where(at > 0, grid[at - 1], -1.0), ends[at]


def usual_grid(every: float = EVERY, budget: float = BUDGET) -> Floats:
    """Evaluations at step 0 and after every so many steps."""
    return np.arange(0.0, budget + every / 2, every)


def measure_coverage(generator: np.random.Generator, repeats: int) -> list[Row]:
    """Coverage of the 95% intervals of a log-normal sample, censored at the budget."""
    z = np.log(BUDGET / MEDIAN) / SPREAD
    solved = float(stats.norm.cdf(z))
    mean = MEDIAN * np.exp(SPREAD**2 / 2) * float(stats.norm.cdf(z - SPREAD)) + BUDGET * (1.0 - solved)
    rows: list[Row] = []
    for n in (3, 5, 8, 16, 32):
        holds = dict.fromkeys(("median, seed bootstrap", "share solved", "median, log-normal", "restricted mean"), 0)
        for _ in range(repeats):
            left, right = watch(MEDIAN * np.exp(SPREAD * generator.normal(size=n)), usual_grid())
            boot = bootstrap_seeds(left, right, generator, draws=DRAWS)
            holds["median, seed bootstrap"] += covers(boot.quantile(0.5, LEVEL), MEDIAN)
            holds["restricted mean"] += covers(boot.restricted_mean(BUDGET, LEVEL), mean)
            holds["share solved"] += covers(bound_share(int(np.isfinite(right).sum()), n, LEVEL), solved)
            try:
                fitted = fit_steps(left, right).bound_quantile(0.5, level=LEVEL)
            except (
                SaltusError
            ):  # no maximum: all seeds in one interval, or none solved; the fit says so and sets no limit
                fitted = Estimate(None, 0.0, np.inf, LEVEL)
            holds["median, log-normal"] += covers(fitted, MEDIAN)
        rows += [Row((name, str(n)), count, repeats, LEVEL, True) for name, count in holds.items()]
    return sorted(rows, key=lambda row: row.cells[0])


def measure_errors(generator: np.random.Generator, repeats: int) -> list[Row]:
    """How often each test calls two equal arms different; the seeds of a pair share half of the variance."""
    rows: list[Row] = []
    kinds: tuple[ScoreKind, ...] = get_args(ScoreKind)
    for n in (3, 5, 8):
        counts = {(kind, design): 0 for kind in kinds for design in ("unpaired", "paired")}
        naive = 0
        arm, seeds = np.repeat([0, 1], n), np.tile(np.arange(n), 2)
        for _ in range(repeats):
            own = generator.normal(size=2 * n)
            shared = np.sqrt(0.5) * (own + np.tile(generator.normal(size=n), 2))
            for design, noise in (("unpaired", own), ("paired", shared)):
                left, right = watch(MEDIAN * np.exp(SPREAD * noise), usual_grid())
                for kind in kinds:
                    test = compare_arms(left, right, arm, generator, seeds=seeds, paired=design == "paired", kind=kind)
                    counts[kind, design] += test.p_value <= ALPHA
                if design == "unpaired":
                    naive += reject_logrank(left, right, arm)
        rows += [Row((kind, design, str(n)), c, repeats, ALPHA, False) for (kind, design), c in counts.items()]
        rows.append(Row(("log-rank on right ends, for warning", "unpaired", str(n)), naive, repeats, ALPHA, False))
    return sorted(rows, key=lambda row: row.cells[:2])


def reject_logrank(left: Floats, right: Floats, arm: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    """Whether the log-rank test of the right ends, by its normal approximation, says that the arms differ."""
    times, seen = np.minimum(right, BUDGET), np.isfinite(right)
    first, second = (
        stats.CensoredData(uncensored=times[(arm == each) & seen], right=times[(arm == each) & ~seen])
        for each in (0, 1)
    )
    with np.errstate(invalid="ignore"):  # where nothing emerged
        return bool(stats.logrank(first, second).pvalue <= ALPHA)  # false for NaN


def measure_bias(generator: np.random.Generator, repeats: int) -> list[tuple[str, str, str]]:
    """Geometric mean of the estimated median over the true one, less 1: of right ends, and of Turnbull's estimate."""
    grids: list[tuple[str, float, Floats]] = [
        (f"every {share:.0%} of the median", MEDIAN, usual_grid(share * MEDIAN, 5 * MEDIAN))
        for share in (0.05, 0.1, 0.2)
    ]
    grids += [(f"Pythia's checkpoints, median {median:,.0f}", median, PYTHIA) for median in (10_000.0, 50_000.0)]
    table: list[tuple[str, str, str]] = []
    for name, median, grid in grids:
        found: list[list[float]] = [[], []]
        for _ in range(repeats):
            # 31 seeds: the log of an odd sample's median has no bias of its own
            left, right = watch(median * np.exp(SPREAD * generator.normal(size=31)), grid)
            km = estimate_survival(np.minimum(right, grid[-1]), np.isfinite(right)).median
            found[0].append(np.log((grid[-1] if km is None else km) / median))
            found[1].append(np.log(estimate_turnbull(left, right).place_quantile(0.5) / median))
        cells = [f"{np.expm1(np.mean(v)):+.1%} (± {np.std(v) / np.sqrt(repeats):.1%})" for v in found]
        table.append((name, cells[0], cells[1]))
    return table


def measure_pooling(generator: np.random.Generator, repeats: int) -> list[Row]:
    """Rows of a run as if they were independent, against rows that stay with their seed."""
    rows: list[Row] = []
    for n in (3, 5, 8):
        seeds = np.repeat(np.arange(2 * n), ROWS)
        arm = np.repeat([0, 1], n * ROWS)
        clusters = {"rows as if independent": np.arange(len(seeds)), "clustered by seed": seeds}
        errors, holds = dict.fromkeys(clusters, 0), dict.fromkeys(clusters, 0)
        for _ in range(repeats):
            noise = BETWEEN * generator.normal(size=2 * n)[seeds] + WITHIN * generator.normal(size=len(seeds))
            left, right = watch(MEDIAN * np.exp(noise), usual_grid())
            first = arm == 0
            for name, label in clusters.items():
                errors[name] += compare_arms(left, right, arm, generator, seeds=label).p_value <= ALPHA
                boot = bootstrap_seeds(left[first], right[first], generator, label[first], DRAWS)
                holds[name] += covers(boot.quantile(0.5, LEVEL), MEDIAN)
        for name in clusters:
            rows.append(Row(("test of two equal arms", name, str(n)), errors[name], repeats, ALPHA, False))
            rows.append(Row(("interval of the median", name, str(n)), holds[name], repeats, LEVEL, True))
    return sorted(rows, key=lambda row: row.cells[:2])


def covers(interval: Estimate, truth: float) -> int:
    """1 if the truth lies in the interval."""
    return int(interval.lower <= truth <= interval.upper)


def tabulate(names: tuple[str, ...], rows: list[Row], measured: str) -> list[str]:
    """A table in Markdown."""
    header = (*names, measured, "nominal", "Monte Carlo error", "")
    lines = [(*row.cells, f"{row.share:.1%}", f"{row.nominal:.0%}", f"± {row.error:.1%}", row.verdict) for row in rows]
    return draw_table(header, lines)


def draw_table(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> list[str]:
    """Header, rule and lines."""
    return [f"| {' | '.join(line)} |" for line in (header, ("---",) * len(header), *lines)] + [""]


def say_failures(rows: list[Row], what: str) -> str:
    """Two sentences on the rows that are not nominal, on either side."""
    told = {
        verdict: "; ".join(
            f"{', '.join(row.cells[:-1])} at n = {row.cells[-1]} ({row.share:.1%})"
            for row in rows
            if row.verdict == verdict
        )
        for verdict in ("**not nominal**", "conservative")
    }
    said = f"not nominal are {told['**not nominal**']}" if told["**not nominal**"] else "none does harm"
    return f"- {what}: {said}. Conservative are {told['conservative'] or 'none'}."


def write_page(coverage: list[Row], errors: list[Row], bias: list[tuple[str, str, str]], pooling: list[Row]) -> str:
    """The page, in Markdown."""
    tests = [row for row in errors if "warning" not in row.cells[0]]
    clustered = [row for row in pooling if "clustered" in row.cells[1]]
    others = {"Races between arms": "race.md", "Splits of the variance": "variance.md"}
    there = {what: name for what, name in others.items() if (PAGE.parent / "statistics" / name).exists()}
    lines = [
        "# Do the intervals and the tests hold?",
        "",
        "Generated by `make simulate`, not by hand. What the words mean: [statistics](../docs/statistics.md).",
        *(f"{what} have [a page of their own](statistics/{name})." for what, name in there.items()),
        "",
        f"Steps are log-normal with median {MEDIAN:,.0f} and a standard deviation of natural log steps of {SPREAD};",
        f"a seed is evaluated every {EVERY:.0f} steps until step {BUDGET:,.0f}, so that some are censored. *n* is the",
        "number of seeds, in each arm where there are two. The Monte Carlo error is one standard error at the nominal",
        "share. *Not nominal* is what misses it by more than three on the side that does harm (covers too rarely, errs",
        "too often), *conservative* on the other side: the interval is wider than need be, or the test less powerful.",
        "With few seeds a share or a permutation can only take a few values: 3 against 3 seeds, and 5 pairs, can never",
        f"reject at {ALPHA}.",
        "",
        say_failures(coverage, "Intervals"),
        say_failures(tests, "Tests for intervals"),
        say_failures(clustered, "Clustered by seed"),
        "",
        "## Coverage of 95% intervals",
        "",
        *tabulate(("interval of", "n"), coverage, f"covers (of {coverage[0].repeats:,})"),
        "The share is Clopper and Pearson's. Where a log-normal fit has no maximum (all seeds in one interval, say) it",
        "sets no limit, which covers.",
        "",
        f"## Two equal arms called different, at {ALPHA}",
        "",
        *tabulate(("test", "design", "n"), errors, f"rejects (of {errors[0].repeats:,})"),
        "The first ones are permutation tests of intervals. A pair shares its seed, and half of the variance. The",
        "log-rank test takes right ends as exact and its p-value from the normal distribution.",
        "",
        "## Right ends taken as exact: the median of 31 seeds",
        "",
        *draw_table(("evaluated", "Kaplan-Meier on right ends", "Turnbull"), list(bias)),
        "Geometric mean over the true median, less 1, and its Monte Carlo error. Turnbull's median is",
        "placed within its cell.",
        "",
        "## Rows of a run are not independent",
        "",
        f"Each seed has {ROWS} rows; the standard deviation of log steps is {BETWEEN} between runs and {WITHIN}",
        "between the rows of one run.",
        "",
        *tabulate(("what", "rows", "n"), pooling, f"rejects or covers (of {pooling[0].repeats:,})"),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000, help="samples of each size; half of it for rows of runs")
    repeats: int = parser.parse_args().repeats
    generator = Streams(0).generator("bootstrap")

    coverage, errors = measure_coverage(generator, repeats), measure_errors(generator, repeats)
    bias, pooling = measure_bias(generator, repeats), measure_pooling(generator, repeats // 2)
    PAGE.write_text(write_page(coverage, errors, bias, pooling))


if __name__ == "__main__":
    main()
