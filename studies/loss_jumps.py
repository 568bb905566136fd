"""Loss falls row by row, in jumps, and the heads' entropy falls with it (S=16, s=3)."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned, unit_emergences
from saltus.measure.transitions import find_ranked_steps, measure_entropy_change, measure_falls
from saltus.paper.distance import PASSED
from saltus.paper.setting import jump_figure
from saltus.paper.targets import read_targets
from saltus.studies.comparison import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, label, open_plate
from saltus.studies.results import Results

runs, laptop = [jump_figure("s3", seeds=3)], [jump_figure("s3", seeds=1, steps=2_500)]


def draw(results: Results) -> Figure:
    """Loss of each row; entropy of each head; rows passed over steps; one head before and after its jump."""
    figure, axes = open_plate(2, 2)
    records = results["s3"]
    seed = int(count_learned(records).argmax())
    steps = records.evaluated_steps
    for row in records.cube("units", "loss")[seed].T:
        axes[0].plot(steps, row, linewidth=0.9, alpha=0.8)
    axes[0].axhline(np.log(2), color=THEIRS, linestyle=":", linewidth=1)
    axes[0].set_ylim(-0.03, 0.9)  # before the first steps the loss is far above chance
    label(axes[0], f"each row's loss falls on its own (seed {seed})", "step", "loss (nats); dotted: chance")
    entropy = records.cube("heads", "entropy")[seed, :, 0].mean(-1)  # [evaluation, head]
    for head in entropy.T:
        axes[1].plot(steps, head, linewidth=1)
    label(axes[1], "entropy of each head over the first state", "step", "nats, mean over rows")
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    axes[2].step(theirs, range(1, 17), where="post", color=THEIRS, label="authors, one seed (read off)")
    for other, ranked in enumerate(find_ranked_steps(records, PASSED)):
        passed = [step for step in ranked if step is not None]
        axes[2].step(passed, range(1, len(passed) + 1), where="post", color=OURS[other], label=f"seed {other}")
    label(axes[2], f"rows with a loss below {PASSED}", "step", "rows of 16")
    add_legend(axes[2])
    patterns = records.patterns
    row, head, before = find_sharpest(records.cube("heads", "truth_mass")[seed, :, 0], steps, patterns.steps)
    shown = patterns.patterns[[before, before + 1], seed, 0, head][:, :, :16].astype(float)  # [2, row, key]
    axes[3].imshow(np.concatenate([shown[0], np.full((16, 1), np.nan), shown[1]], axis=1), cmap="Blues", aspect="auto")
    true = np.argwhere(records.facts.truth[records.facts.scored][:, :16])
    for offset in (0, 17):
        axes[3].plot(true[:, 1] + offset, true[:, 0], "s", markersize=5, markerfacecolor="none", color=OURS[1])
    axes[3].grid(visible=False)
    axes[3].set_xticks([0, 5, 10, 15, 17, 22, 27, 32], ["0", "5", "10", "15"] * 2)
    when = f"steps {patterns.steps[before]:,} and {patterns.steps[before + 1]:,}"
    label(axes[3], f"head {head}, {when}: row {row} finds a key", "key, before | after; squares: the truth", "row")
    return figure


def find_sharpest(mass: np.ndarray, steps: np.ndarray, kept: np.ndarray) -> tuple[int, int, int]:
    """Row, head and snapshot after which the attention of a head on a row's true keys grows most.

    `mass` is [evaluation, head, row]; `kept` are the steps of the snapshots.
    """
    gain = np.diff(mass[np.searchsorted(steps, kept)], axis=0)  # [snapshot, head, row]
    snapshot, head, row = np.unravel_index(int(gain.argmax()), gain.shape)
    return int(row), int(head), int(snapshot)


def compare(results: Results) -> Sequence[Comparison]:
    """The step at which so many rows have passed."""
    theirs = read_targets("linear_map_jumps")["data"]["step at which each row's loss passes 0.35"]
    seeds = find_ranked_steps(results["s3"], PASSED)
    return [
        Comparison(f"{rank + 1} rows passed, step", step, [seed[rank] for seed in seeds], results.scale("s3"), digits=0)
        for rank, step in enumerate(theirs)
    ]


def judge(results: Results) -> Sequence[Claim]:
    """Abruptness, spread, and the entropy drop at the jump."""
    records = results["s3"]
    spread = unit_emergences(records)
    falls = measure_falls(records.evaluated_steps, records.cube("units", "loss"), np.log(2))
    durations = [fall for seed in falls for fall in seed]
    typical = f"median {np.median(durations):,.0f} steps over {len(durations)} falls" if len(durations) else "no fall"
    low, high = read_targets("linear_map_jumps")["data"]["duration of one row's fall"]
    abrupt = len(durations) > 0 and np.median(durations) <= high
    firsts = [min((u.by for u in seed if u.by is not None), default=None) for seed in spread]
    change = measure_entropy_change(records)
    return [
        Claim(
            f"a row's loss falls at once, by the authors' figure within {low} to {high} steps",
            "reproduced" if abrupt else "in part" if len(durations) else "not reproduced",
            f"from 90% to 10% of chance: {typical}",
        ),
        Claim(
            "rows are found at very different steps",
            "reproduced" if len(durations) > 1 else "not reproduced",
            f"rows learned by seed: {', '.join(map(str, count_learned(records)))}; first row at step {firsts}",
        ),
        Claim(
            "a head's entropy falls at the same step",
            "reproduced" if change.falls else "in part" if change.around < 0 else "not reproduced",
            f"the row's entropy in its best head changes by {change.around:+.2f} nats over the step interval of the "
            f"jump, and by {change.elsewhere:+.2f} over intervals of equal length elsewhere (medians)",
        ),
    ]
