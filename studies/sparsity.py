"""Final loss against sparsity: medium sparsity is hardest, and the dense end is solved by copying (S=8, 16, 32)."""

from collections.abc import Sequence
from math import comb, log

from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned, estimate_share, final_loss, task_emergences
from saltus.paper.setting import linear_map
from saltus.paper.targets import read_targets
from saltus.specs import RunSpec
from saltus.studies.comparison import Claim, Comparison
from saltus.studies.panels import OURS, add_legend, draw_ours, draw_theirs, label, open_plate
from saltus.studies.results import Results

SIZES = (8, 16, 32)


def name_of(size: int, sparsity: int) -> str:
    """The name of a cell; S=16, s=3 is the cell of the other studies."""
    return f"size-{size}-s{sparsity}"


def make(size: int, sparsities: Sequence[int], *, seeds: int, steps: int = 10_000) -> list[RunSpec]:
    """Cells of one size."""
    return [linear_map(name_of(size, s), size=size, sparsity=s, seeds=seeds, steps=steps) for s in sparsities]


runs = [run for size in SIZES for run in make(size, range(1, size + 1), seeds=3)]
laptop = [
    *make(8, range(1, 9), seeds=1, steps=2_500),
    *make(16, (1, 2, 3, 4, 8, 13, 15, 16), seeds=1, steps=2_500),
    *make(32, (1, 2, 3, 4, 16, 31, 32), seeds=1, steps=2_500),
]


def list_cells(results: Results, size: int) -> list[int]:
    """The sparsities of a size that have been run."""
    return [s for s in range(1, size + 1) if name_of(size, s) in results]


def draw(results: Results) -> Figure:
    """Loss against s for each size; the share of seeds that solve against the number of subsets."""
    figure, axes = open_plate(2, 2)
    for panel, size in zip(axes, SIZES, strict=False):
        cells = {s: results.get(name_of(size, s)) for s in range(1, size + 1)}
        theirs = read_targets("linear_map_sparsity")["data"].get(f"S={size}", {})
        if theirs:
            draw_theirs(panel, [int(s) for s in theirs], list(theirs.values()))
        losses = [final_loss(cell) if cell else [] for cell in cells.values()]
        draw_ours(panel, cells, losses, "ours, dots: seeds", OURS[0])
        floor = (size - 1) / (2 * size - 1) * log(2)
        panel.axhline(floor, color="black", linewidth=0.8, linestyle=":")
        panel.set_ylim(0.3, 0.72)
        label(panel, f"S={size}", "sparsity s", "final training loss (nats); dotted: floor")
        add_legend(panel)
    for size, colour in zip(SIZES, OURS, strict=False):
        for s in list_cells(results, size):
            records = results[name_of(size, s)]
            solved = sum(not e.censored for e in task_emergences(records))
            share = estimate_share(solved, records.spec.seeds)
            x, y = comb(size, s), solved / records.spec.seeds
            below, above = [y - share.lower], [share.upper - y]
            axes[3].errorbar([x], [y], [below, above], fmt="o", color=colour, alpha=0.6, markersize=4)
            if s > size / 2:
                axes[3].annotate(f"s={s}", (x, y), fontsize=6, xytext=(3, 3 + 7 * (s % 3)), textcoords="offset points")
        axes[3].plot([], [], "o", color=colour, label=f"S={size}")
    axes[3].set_xscale("log")
    axes[3].set_xlim(0.7, 2 * comb(32, 16))
    axes[3].set_ylim(-0.05, 1.15)
    label(axes[3], "difficulty: seeds that solve all rows", "C(S, s); labelled: s > S/2", "share, exact 95% interval")
    add_legend(axes[3])
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss of each cell, and rows learned where the authors' loss tells them."""
    rows: list[Comparison] = []
    data = read_targets("linear_map_sparsity")["data"]
    for size in SIZES:
        for s in list_cells(results, size):
            name = name_of(size, s)
            theirs = data.get(f"S={size}", {}).get(str(s))
            rows.append(
                Comparison(f"S={size}, s={s}: loss", theirs, list(final_loss(results[name])), results.scale(name))
            )
            learned = data.get(f"S={size} rows learned by seed", {}).get(str(s))
            if learned:
                mean = sum(learned) / len(learned)
                ours = [float(n) for n in count_learned(results[name])]
                rows.append(Comparison(f"S={size}, s={s}: rows", mean, ours, results.scale(name), digits=1))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """Everything is learned at S=8; the middle is hardest at S=16; dense cells beat sparse ones of equal count."""
    small = {s: count_learned(results[name_of(8, s)]) for s in list_cells(results, 8)}
    middle = {s: final_loss(results[name_of(16, s)]).mean() for s in list_cells(results, 16)}
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
    if 4 in middle and 12 in middle:
        sparse, dense = (count_learned(results[name_of(16, s)]).mean() for s in (4, 12))
        claims.append(
            Claim(
                "the number of subsets is not all: C(16,4) = C(16,12), and s=4 is learned better",
                "reproduced" if sparse > dense else "not reproduced",
                f"mean rows learned: {sparse:.1f} at s=4, {dense:.1f} at s=12",
            )
        )
    if 16 in middle:
        rows = count_learned(results[name_of(16, 16)])
        claims.append(
            Claim(
                "at s=S all outputs are equal, and copying learns all rows but one",
                "reproduced" if (rows == 15).all() else "in part" if (rows >= 12).all() else "not reproduced",
                f"rows learned by seed: {', '.join(map(str, rows))} of 16",
            )
        )
    return claims
