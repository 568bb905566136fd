"""Is a model with H heads as soon as the soonest of H models with one head? The lottery of heads, as a prediction."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from race_heads import make
from saltus.measure.bootstrap import SeedBootstrap, bootstrap_emergences
from saltus.measure.lottery import LotteryCheck, check_lottery
from saltus.seeding import Streams
from saltus.studies.claims import Claim, Table, Verdict
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

HEADS = (1, 2, 4, 8, 16)
DIMENSIONS = (4, 8, 16)
"""Of a head. Nothing else differs between the cells of a dimension than how many heads there are."""
SEEDS = 32
SHARES = (0.25, 0.5, 0.75)
"""Shares of seeds: the quarter that is soonest, half of them, all but the last quarter."""


def bootstrap(result: Result, place: int) -> SeedBootstrap:
    """The steps at which seeds had the whole task."""
    return bootstrap_emergences(result.tasks, Streams(0).generator("bootstrap", place))


def check(results: Results) -> dict[tuple[int, int], list[LotteryCheck]]:
    """By head dimension and heads, each quantile beside what one head predicts."""
    found: dict[tuple[int, int], list[LotteryCheck]] = {}
    for dimension in DIMENSIONS:
        cells = results.where(dimension=dimension).by("heads")
        if 1 not in cells:
            continue
        one = bootstrap(cells[1], 1)
        for heads, result in cells.items():
            if heads != 1:
                many = bootstrap(result, int(heads))
                found[dimension, int(heads)] = [check_lottery(one, many, int(heads), share) for share in SHARES]
    return found


def draw(results: Results) -> Figure:
    """For each head dimension the share of seeds still without; dashed, what one head predicts of so many."""
    figure, axes = open_panels(len(DIMENSIONS), height=3.6)
    for panel, dimension in zip(axes, DIMENSIONS, strict=True):
        cells = results.where(dimension=dimension).by("heads")
        for colour, heads in zip((THEIRS, *OURS), HEADS, strict=False):
            if heads not in cells:
                continue
            steps = np.unique(cells[heads].records.evaluated_steps).astype(float)
            panel.plot(
                steps, bootstrap(cells[heads], 0).estimate.survival_at(steps)[1], color=colour, label=f"H={heads}"
            )
            if 1 in cells and heads > 1:
                single = bootstrap(cells[1], 0).estimate.survival_at(steps)[1]
                panel.plot(steps, single**heads, color=colour, linestyle="--", linewidth=1.0)
        panel.set_xscale("log")
        panel.set_xlim(100, 1_600)
        label(panel, f"heads of {dimension} dimensions; dashed: predicted", "step", "seeds without the whole map")
        add_legend(panel)
    return figure


def tabulate(results: Results) -> Sequence[Table]:
    """Every quantile, predicted and measured."""
    rows = [
        (
            str(dimension),
            str(heads),
            f"{each.share:.0%}",
            say(each.predicted.value, each.predicted.lower, each.predicted.upper, 0),
            say(each.measured.value, each.measured.lower, each.measured.upper, 0),
            say(each.ratio.value, each.ratio.lower, each.ratio.upper, 2),
            say(each.effective.value, each.effective.lower, each.effective.upper, 1),
        )
        for (dimension, heads), checks in check(results).items()
        for each in checks
    ]
    note = (
        "Predicted: the step by which the soonest of H independent models with one head has the whole map, from "
        "Turnbull's estimate of the models with one head. Brackets: 95%, by a bootstrap over seeds, conservative. "
        "*As many searchers*: how many independent ones would have come as soon as the model with H heads."
    )
    columns = ("d_head", "H", "share of seeds", "predicted step", "measured step", "measured / predicted")
    return [Table("What one head predicts of H", (*columns, "as many searchers"), rows, note)] if rows else []


def say(value: float | None, lower: float, upper: float, digits: int) -> str:
    """Such as `220 [190, 260]`."""
    told = "none" if value is None else "beyond the budget" if np.isinf(value) else f"{value:,.{digits}f}"
    return f"{told} [{lower:,.{digits}f}, {'no limit' if np.isinf(upper) else f'{upper:,.{digits}f}'}]"


def judge(results: Results) -> Sequence[Claim]:
    """For each head dimension whether the medians are as predicted; the other quantiles are told beside."""
    claims: list[Claim] = []
    found = check(results)
    for dimension in dict.fromkeys(dimension for dimension, _ in found):
        checks = {heads: each for (d, heads), each in found.items() if d == dimension}
        medians = {heads: each for heads, several in checks.items() for each in several if each.share == 0.5}
        others = [each for several in checks.values() for each in several if each.share != 0.5]
        told = ", ".join(
            f"H={heads}: {say(each.ratio.value, each.ratio.lower, each.ratio.upper, 2)}"
            for heads, each in medians.items()
        )
        claims.append(
            Claim(
                f"heads of {dimension} dimensions: H of them are as soon as the soonest of H models with one",
                judge_medians(list(medians.values())),
                f"median measured over predicted, {told}; of {len(others)} other quantiles "
                f"{sum(each.ratio.lower > 1.0 for each in others)} are later than predicted and "
                f"{sum(each.ratio.upper < 1.0 for each in others)} sooner, where 1 in 20 is by chance; {SEEDS} seeds",
                ours=True,
            )
        )
    return claims


def judge_medians(checks: Sequence[LotteryCheck]) -> Verdict:
    """*Open* where no interval is bounded on both sides: such a rule could not say no."""
    outside = sum(not each.holds for each in checks)
    telling = [each for each in checks if each.ratio.lower > 0.0 and np.isfinite(each.ratio.upper)]
    if not outside:
        return "reproduced" if telling else "open"
    return "in part" if outside < len(checks) else "not reproduced"


study = Study(
    cells=[make(heads, dimension).change(seeds=SEEDS, steps=None) for dimension in DIMENSIONS for heads in HEADS],
    draw=draw,
    tabulate=tabulate,
    judge=judge,
)
