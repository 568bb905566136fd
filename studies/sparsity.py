"""Final loss against sparsity: medium sparsity is hardest, and the dense end is solved by copying (S=8, 16, 32)."""

from collections.abc import Sequence
from dataclasses import replace
from math import comb, log

from matplotlib.figure import Figure

from saltus.measure.outcomes import estimate_share
from saltus.paper.claims import ON_SEARCH
from saltus.paper.setting import FITTED_SPARSITIES, linear_map
from saltus.paper.targets import read_rows, read_targets, read_tolerance
from saltus.specs import ScheduleSpec
from saltus.studies.cells import Cell, vary_run
from saltus.studies.claims import Claim, Comparison
from saltus.studies.panels import MARKERS, OURS, add_legend, draw_ours, draw_theirs, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

SIZES = (8, 16, 32)

LARGE = (1, 2, 3, 4, 5, 8, 16, 24, 28, 29, 30, 31, 32)
"""s at S=32: most of them hopeless."""

HOPELESS = 3_000
"""Steps after which a cell of S=32 is given up unless a seed has found a row."""


def make(size: int, sparsities: Sequence[int], *, seeds: int, steps: int = 10_000) -> list[Cell]:
    """Cells of one size; S=16, s=3 is the cell of the other studies."""
    return [
        Cell(
            size=size,
            sparsity=s,
            run=linear_map(f"size-{size}-s{s}", size=size, sparsity=s, seeds=seeds, steps=steps),
        )
        for s in sparsities
    ]


def begin(sparsity: int) -> Cell:
    """The first steps of a cell of S=32, in which it may be found hopeless."""
    often = ScheduleSpec(every=1_000, factor=1000)  # a run goes on only from a step at which patterns are kept
    run = linear_map(f"size-32-s{sparsity}", size=32, sparsity=sparsity, seeds=2, steps=HOPELESS, snapshot=often)
    return Cell(size=32, sparsity=sparsity, short=True, run=run)


def follow(results: Results, scale: str) -> list[Cell]:
    """The cells of S=32 that are not given up, trained on from where they are."""
    begun = results.where(size=32) if scale == "full" else ()
    return [
        Cell(
            size=32,
            sparsity=result["sparsity"],
            whole=True,
            run=vary_run(result.cell.run, name=f"{result.name}-whole", training={"steps": 10_000}),
        )
        for result in begun
        if not is_hopeless(result)
    ]


def is_hopeless(result: Result) -> bool:
    """Whether no seed has found a row by the end, confirmed or not."""
    return all(unit.censored for unit in result.units) and not any(result.there_at_end)


def find(results: Results, size: int) -> dict[int, Result]:
    """By sparsity, the cells of a size that have been run; of one that was trained on, the whole."""
    found = sorted(results.where(size=size), key=lambda result: "whole" in result.key)
    return {int(result["sparsity"]): result for result in found}


def list_theirs(size: int) -> dict[int, float]:
    """By sparsity, the loss of the authors' figure."""
    return {int(s): loss for s, loss in read_targets("linear_map_sparsity")["data"].get(f"S={size}", {}).items()}


def draw(results: Results) -> Figure:
    """Loss against s for each size; the share of seeds that solve against the number of subsets."""
    figure, axes = open_panels(2, 2)
    for panel, size in zip(axes, SIZES, strict=False):
        cells, theirs = find(results, size), list_theirs(size)
        if theirs:
            draw_theirs(panel, list(theirs), list(theirs.values()))
        every = range(1, size + 1)
        losses = [cells[s].final_loss if s in cells else [] for s in every]
        draw_ours(panel, every, losses, "ours, dots: seeds", OURS[0])
        floor = (size - 1) / (2 * size - 1) * log(2)
        panel.axhline(floor, color="black", linewidth=0.8, linestyle=":")
        panel.set_ylim(0.3, 0.72)
        label(panel, f"S={size}", "sparsity s", "final training loss (nats); dotted: floor")
        add_legend(panel)
    for size, colour, marker in zip(SIZES, OURS, MARKERS, strict=False):
        for s, result in find(results, size).items():
            solved = [not task.censored for task in result.tasks]
            share = estimate_share(sum(solved), len(solved))
            x, y = comb(size, s), sum(solved) / len(solved)
            below, above = [y - share.lower], [share.upper - y]
            fill = "none" if s > size / 2 else "full"
            axes[3].errorbar(
                [x], [y], [below, above], fmt=marker, color=colour, alpha=0.6, markersize=5, fillstyle=fill
            )
        axes[3].plot([], [], marker, color=colour, label=f"S={size}")
    axes[3].set_xscale("log")
    axes[3].set_xlim(0.7, 2 * comb(32, 16))
    axes[3].set_ylim(-0.05, 1.15)
    label(axes[3], "difficulty: seeds that solve all rows", "C(S, s); empty: s > S/2", "share, exact 95% interval")
    add_legend(axes[3])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss of each cell, and rows learned where the authors' loss tells them."""
    rows: list[Comparison] = []
    for size in SIZES:
        for s, result in find(results, size).items():
            cell, loss = f"S={size}, s={s}", list_theirs(size).get(s)
            fitted = size == 16 and s in FITTED_SPARSITIES
            row = result.compare_loss(f"{cell}: loss", loss, read_tolerance("linear_map_sparsity"), fitted=fitted)
            given_up = result.budget == HOPELESS and is_hopeless(result)
            rows.append(replace(row, note=f"given up: no row by step {HOPELESS:,}") if given_up else row)
            learned = read_rows(size, s)
            if learned is not None:
                ours = [float(n) for n in result.learned]
                note = f"beyond the level at the last evaluation: {', '.join(map(str, result.there_at_end))}"
                rows.append(Comparison(f"{cell}: rows", learned, ours, result.scale, 1, fitted=fitted, note=note))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """Everything is learned at S=8; the middle is hardest at S=16; dense cells beat sparse ones of equal count."""
    small = {s: result.learned for s, result in find(results, 8).items()}
    learned = {s: result.learned for s, result in find(results, 16).items()}
    middle = {s: result.final_loss.mean() for s, result in find(results, 16).items()}
    claims: list[Claim] = []
    if small:
        whole = sum(bool((rows == 8).all()) for rows in small.values())
        claims.append(
            Claim(
                "S=8 is learned at every sparsity",
                "reproduced" if whole == 8 else "in part" if whole else "not reproduced",
                f"all rows in all seeds at {whole} of {len(small)} sparsities; rows by s: "
                + "; ".join(f"{s}: {', '.join(map(str, rows))}" for s, rows in small.items()),
            )
        )
    if len(middle) > 2:
        hardest = max(middle, key=lambda s: middle[s])
        ends = min(middle), max(middle)
        between = hardest not in ends and 4 <= hardest <= 12
        claims.append(
            Claim(
                "at S=16 medium sparsity is hardest",
                "reproduced" if between else "not reproduced",
                f"the largest of {len(middle)} mean losses is {middle[hardest]:.3f} at s={hardest}; "
                f"the ends have {middle[ends[0]]:.3f} and {middle[ends[1]]:.3f}",
            )
        )
    if 4 in learned and 12 in learned:
        sparse, dense = learned[4].mean(), learned[12].mean()
        claims.append(
            Claim(
                "the number of subsets is not all: C(16,4) = C(16,12), and s=4 is learned better",
                "reproduced" if sparse > dense else "not reproduced",
                f"mean rows learned: {sparse:.1f} at s=4, {dense:.1f} at s=12",
            )
        )
    if 16 in learned:
        rows = learned[16]
        claims.append(
            Claim(
                "at s=S all outputs are equal, and copying learns all rows but one",
                "reproduced" if (rows == 15).all() else "in part" if (rows >= 12).all() else "not reproduced",
                f"rows learned by seed: {', '.join(map(str, rows))} of 16",
            )
        )
    return claims


study = Study(
    cells=[
        *make(8, range(1, 9), seeds=3),
        *make(16, range(1, 17), seeds=3),
        *(begin(s) for s in LARGE),
    ],
    laptop=[
        *make(8, range(1, 9), seeds=1, steps=2_500),
        *make(16, (1, 2, 3, 4, 8, 13, 15, 16), seeds=1, steps=2_500),
        *make(32, (1, 2, 3, 4, 16, 31, 32), seeds=1, steps=2_500),
    ],
    draw=draw,
    compare=compare,
    judge=judge,
    follow=follow,
    about=ON_SEARCH,
)
