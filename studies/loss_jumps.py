"""Loss falls row by row, in jumps, and the heads' entropy falls with it (S=16, s=3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from saltus.measure.abruptness import measure_abruptness
from saltus.measure.transitions import measure_falls
from saltus.paper.claims import ON_JUMPS
from saltus.paper.distance import PASSED, RANKS, measure_sharpening, rank_rows
from saltus.paper.setting import jump_figure
from saltus.paper.targets import read_fall, read_passings, read_tolerance
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison, Verdict
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

ABRUPT = 0.25
"""Largest width of a fall, over the step of its middle, that counts as abrupt."""

GENTLE = 1.6
"""The width of a straight line from step 0: (.9 - .1) / .5. An exponential decay is wider."""

APART = 3
"""Times the first row's step at which the last one comes, for them to be very different."""


def draw(results: Results) -> Figure:
    """Loss of each row; entropy of each head; rows passed over steps; one head before and after its jump."""
    figure, axes = open_panels(2, 2)
    result = results[0]
    records, steps = result.records, result.records.evaluated_steps
    seed = int(result.learned.argmax())
    for row in records.cube("units", "loss")[seed].T:
        axes[0].plot(steps, row, linewidth=0.9, alpha=0.8)
    axes[0].axhline(np.log(2), color=THEIRS, linestyle=":", linewidth=1)
    axes[0].set_ylim(-0.03, 0.9)  # before the first steps the loss is far above chance
    label(axes[0], f"each row's loss falls on its own (seed {seed})", "step", "loss (nats); dotted: chance")
    entropy = records.cube("heads", "entropy")[seed, :, 0].mean(-1)  # [evaluation, head]
    for head in entropy.T:
        axes[1].plot(steps, head, linewidth=1)
    label(axes[1], "entropy of each head over the first state", "step", "nats, mean over rows")
    draw_their_jumps(axes[2])
    for other, ranked in enumerate(rank_rows(result)):
        draw_passed(axes[2], ranked, result, OURS[other], f"seed {other}")
    add_legend(axes[2])
    kept = records.snapshots
    row, head, before = find_sharpest(records.cube("heads", "truth_mass")[seed, :, 0], steps, kept.steps)
    shown = kept.attention[[before, before + 1], seed, 0, head][:, :, :16].astype(float)  # [2, row, key]
    axes[3].imshow(np.concatenate([shown[0], np.full((16, 1), np.nan), shown[1]], axis=1), cmap="Blues", aspect="auto")
    true = np.argwhere(records.facts.truth[records.facts.scored][:, :16])
    for offset in (0, 17):
        axes[3].plot(true[:, 1] + offset, true[:, 0], "s", markersize=5, markerfacecolor="none", color=OURS[1])
    axes[3].grid(visible=False)
    axes[3].set_xticks([0, 5, 10, 15, 17, 22, 27, 32], ["0", "5", "10", "15"] * 2)
    when = f"steps {kept.steps[before]:,} and {kept.steps[before + 1]:,}"
    label(axes[3], f"head {head}, {when}: row {row} finds a key", "key, before | after; squares: the truth", "row")
    return figure


def draw_their_jumps(panel: Axes) -> None:
    """The authors' rows that have passed, over steps."""
    panel.step(read_passings(), range(1, 17), where="post", color=THEIRS, label="authors, one seed (read off)")
    label(panel, f"rows with a loss below {PASSED}, each seed a line", "step", "rows of 16")


def draw_passed(panel: Axes, ranked: Sequence[float | None], result: Result, colour: str, told: str) -> None:
    """The rows of one seed that have passed, over steps up to the budget; `ranked` is a seed of `rank_rows`."""
    steps = [step for step in ranked if step is not None]
    across, up = [0.0, *steps, float(result.budget)], [*range(len(steps) + 1), len(steps)]
    panel.step(across, up, where="post", color=colour, linewidth=1, label=told)


def find_sharpest(mass: NDArray[np.float64], steps: NDArray[np.int64], kept: NDArray[np.int64]) -> tuple[int, int, int]:
    """Row, head and snapshot after which the attention of a head on a row's true keys grows most.

    `mass` is [evaluation, head, row]; `kept` are the steps of the snapshots.
    """
    gain = np.diff(mass[np.searchsorted(steps, kept)], axis=0)  # [snapshot, head, row]
    snapshot, head, row = np.unravel_index(int(gain.argmax()), gain.shape)
    return int(row), int(head), int(snapshot)


def compare(results: Results) -> Sequence[Comparison]:
    """The step at which so many rows have passed."""
    seeds, scale, tolerance = rank_rows(results[0]), results[0].scale, read_tolerance("linear_map_jumps")
    return [
        Comparison(
            f"{rank + 1} rows passed, step",
            step,
            [seed[rank] for seed in seeds],
            scale,
            digits=0,
            tolerance=tolerance,
            fitted=rank in RANKS,
        )
        for rank, step in enumerate(read_passings())
    ]


def judge(results: Results) -> Sequence[Claim]:
    """Abruptness, duration, spread, and the entropy drop at the jump."""
    result = results[0]
    steps, losses = result.records.evaluated_steps, result.records.cube("units", "loss")
    change = measure_sharpening(result)
    return [
        _judge_abrupt(steps, losses),
        _judge_duration([fall for seed in measure_falls(steps, losses, np.log(2)) for fall in seed]),
        _judge_spread(rank_rows(result), result.budget),
        Claim(
            "a head's entropy falls at the same step",
            "not measured"
            if not (result.learned > 0).any()
            else "reproduced"
            if change.falls
            else "in part"
            if change.around < 0
            else "not reproduced",
            f"the row's entropy in its best head changes by {change.around:+.2f} nats over the step interval of the "
            f"jump, and by {change.elsewhere:+.2f} over intervals of equal length elsewhere (medians)",
        ),
    ]


def _judge_abrupt(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> Claim:
    """From the width of each fall below chance over the step of its middle; `losses` is [seed, evaluation, row]."""
    fell = [np.minimum(row, np.log(2)) for seed in losses for row in seed.T if row[-1] < 0.1 * np.log(2)]
    widths = [measure_abruptness(steps, row).width.value for row in fell]
    middle = float(np.median(widths)) if widths else np.inf
    return Claim(
        "a row's loss falls at once",
        "not measured"
        if not widths
        else "reproduced"
        if middle <= ABRUPT
        else "in part"
        if middle <= GENTLE / 2
        else "not reproduced",
        f"steps from 90% to 10% of the fall over the step of its middle: median {middle:.2f} over {len(widths)} falls; "
        f"reproduced is at most {ABRUPT}; a straight line from step 0 has {GENTLE}",
    )


def _judge_duration(falls: Sequence[float]) -> Claim:
    """From the steps that each fall takes."""
    low, high = read_fall()
    inside = [fall for fall in falls if low <= fall <= high]
    verdict: Verdict = "not measured"
    if falls:
        middle = low <= np.median(falls) <= high
        verdict = "reproduced" if middle else "in part" if 4 * len(inside) >= len(falls) else "not reproduced"
    return Claim(
        f"a row's fall takes {low} to {high} steps",
        verdict,
        f"from 90% to 10% of chance: {len(inside)} of {len(falls)} falls are inside"
        + (f", the median is {np.median(falls):,.0f} steps" if falls else "")
        + "; reproduced is a median inside, in part a quarter of the falls. Their curve may be smoothed, which makes "
        "theirs an upper bound",
    )


def _judge_spread(ranked: Sequence[Sequence[float | None]], budget: int) -> Claim:
    """From the steps at which the rows of each seed pass, soonest first; None is a row that comes after the budget."""
    known = [rows for rows in ranked if rows[0] is not None and rows[0] > 0]
    ratios = [(budget if rows[-1] is None else rows[-1]) / rows[0] for rows in known if rows[0]]
    wide = [ratio >= APART for ratio in ratios]
    theirs = read_passings()
    told = (f"{'at least ' if rows[-1] is None else ''}{r:.1f}" for rows, r in zip(known, ratios, strict=True))
    return Claim(
        "rows of one seed are found at very different steps",
        "not measured" if not wide else "reproduced" if all(wide) else "in part" if any(wide) else "not reproduced",
        f"step of the last row over that of the first, by seed: {', '.join(told) or 'no row came'}; theirs is "
        f"{theirs[-1] / theirs[0]:.1f}; very different is {APART} times or more",
    )


study = Study(
    cells=[Cell(sparsity=3, patterns=True, run=jump_figure("s3", seeds=3))],
    laptop=[Cell(sparsity=3, patterns=True, run=jump_figure("s3", seeds=1, steps=2_500))],
    draw=draw,
    compare=compare,
    judge=judge,
    about=ON_JUMPS,
)
