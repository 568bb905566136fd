"""Loss falls row by row, in jumps, and the heads' entropy falls with it (S=16, s=3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from saltus.measure.transitions import measure_falls
from saltus.paper.distance import PASSED, measure_sharpening, rank_rows
from saltus.paper.setting import jump_figure
from saltus.paper.targets import read_fall, read_passings
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study


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
    seeds, scale = rank_rows(results[0]), results[0].scale
    return [
        Comparison(f"{rank + 1} rows passed, step", step, [seed[rank] for seed in seeds], scale, digits=0)
        for rank, step in enumerate(read_passings())
    ]


def judge(results: Results) -> Sequence[Claim]:
    """Abruptness, spread, and the entropy drop at the jump."""
    result = results[0]
    falls = measure_falls(result.records.evaluated_steps, result.records.cube("units", "loss"), np.log(2))
    durations = [fall for seed in falls for fall in seed]
    typical = f"median {np.median(durations):,.0f} steps over {len(durations)} falls" if len(durations) else "no fall"
    low, high = read_fall()
    abrupt = len(durations) > 0 and np.median(durations) <= high
    seeds = result.units.by_seed().values()
    firsts = [min((unit.by for unit in seed if unit.by is not None), default=None) for seed in seeds]
    change = measure_sharpening(result)
    return [
        Claim(
            f"a row's loss falls at once, by the authors' figure within {low} to {high} steps",
            "reproduced" if abrupt else "in part" if len(durations) else "not reproduced",
            f"from 90% to 10% of chance: {typical}",
        ),
        Claim(
            "rows are found at very different steps",
            "reproduced" if len(durations) > 1 else "not reproduced",
            f"rows learned by seed: {', '.join(map(str, result.learned))}; first row at step {firsts}",
        ),
        Claim(
            "a head's entropy falls at the same step",
            "reproduced" if change.falls else "in part" if change.around < 0 else "not reproduced",
            f"the row's entropy in its best head changes by {change.around:+.2f} nats over the step interval of the "
            f"jump, and by {change.elsewhere:+.2f} over intervals of equal length elsewhere (medians)",
        ),
    ]


study = Study(
    cells=[Cell(sparsity=3, patterns=True, run=jump_figure("s3", seeds=3))],
    laptop=[Cell(sparsity=3, patterns=True, run=jump_figure("s3", seeds=1, steps=2_500))],
    draw=draw,
    compare=compare,
    judge=judge,
)
