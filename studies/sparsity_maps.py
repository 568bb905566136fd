"""Is s=4 really learned better than by the authors, or is it the map? S=16, s=4, on five maps."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from saltus.paper.setting import linear_map
from saltus.paper.targets import read_rows, read_targets
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, draw_ours, label, open_panels
from saltus.studies.results import Results
from saltus.studies.study import Study

SIZE, SPARSITY = 16, 4
MAPS = range(5)

THEIRS_BY_SEED: list[int] = read_targets("linear_map_sparsity")["data"]["S=16 rows learned by seed"][str(SPARSITY)]


def make(number: int) -> Cell:
    """The paper's number of steps on the map of a number; the first map has three seeds, in the calibration."""
    name = "curve-near-lr-3e-4-s4" if number == 0 else f"s4-map-{number}"
    run = linear_map(name, size=SIZE, sparsity=SPARSITY, seeds=1 if number else 3, master_seed=number)
    return Cell(map=number, run=run)


def draw(results: Results) -> Figure:
    """Rows learned on each map, and the authors' range."""
    figure, (panel,) = open_panels(1, height=3.6)
    cells = results.by("map")
    draw_ours(panel, MAPS, [cells[number].learned if number in cells else [] for number in MAPS], "ours", OURS[0])
    panel.axhspan(min(THEIRS_BY_SEED), max(THEIRS_BY_SEED), color=THEIRS, alpha=0.25, label="authors, three seeds")
    panel.set_xticks(list(MAPS))
    panel.set_ylim(0, SIZE)
    label(panel, f"S={SIZE}, s={SPARSITY}, 10,000 steps", "map", f"rows of {SIZE} that are learned")
    add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Rows on each map; the authors do not say which map theirs is."""
    theirs = read_rows(SIZE, SPARSITY)
    return [
        Comparison(f"map {number}: rows", theirs, [float(rows) for rows in result.learned], result.scale, digits=1)
        for number, result in results.by("map").items()
    ]


def judge(results: Results) -> Sequence[Claim]:
    """Whether the authors' mean lies within what our maps give."""
    means = {int(number): float(result.learned.mean()) for number, result in results.by("map").items()}
    theirs = read_rows(SIZE, SPARSITY) or 0.0
    known = len(means) == len(MAPS)
    inside = known and min(means.values()) <= theirs <= max(means.values())
    told = "; ".join(f"map {number}: {mean:.1f}" for number, mean in means.items())
    return [
        Claim(
            "at s=4 the authors' rows lie within those of our maps",
            "not measured" if not known else "reproduced" if inside else "not reproduced",
            f"mean rows, {told or 'not run'}; over maps {np.mean(list(means.values())):.1f}, theirs {theirs:.1f}"
            if means
            else "not run",
            ours=True,
        )
    ]


study = Study(cells=[make(number) for number in MAPS], draw=draw, compare=compare, judge=judge)
