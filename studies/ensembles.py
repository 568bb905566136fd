"""Are K small models worth one of K times the work? Rows that K seeds cover, beside one longer or larger model."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from heads_lottery import SEEDS
from race_heads import make
from saltus.measure.coverage import Coverage, estimate_coverage, gather_learned
from saltus.measure.intervals import Estimate
from saltus.seeding import Streams
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Table
from saltus.studies.panels import OURS, add_legend, label, open_panels
from saltus.studies.results import Result, Results
from saltus.studies.study import Study
from saltus.train.flops import count_flops

BUDGET = 200
"""Steps of every model but the longer ones: the single head has then found about a quarter of the rows."""
POOLED = (1, 2, 4, 8, 16)
WIDTHS = (32, 64, 128)
HEADS = (1, 2, 4, 8, 16)
SEEDS_OF_BASE = "K seeds with one head"


@dataclass(frozen=True)
class Point:
    """What some work buys."""

    way: str
    """How the work is spent."""
    what: str
    work: float
    """Operations of training, as a multiple of those of one small model."""
    share: Estimate
    """Of the rows."""


def make_cell(heads: int, width: int) -> Cell:
    """A cell of the lottery of heads, or one of another width."""
    cell = make(heads, 4).change(seeds=SEEDS, steps=None)
    if width == 32:
        return cell
    name = f"{cell.name}-width-{width}"
    model = cell.run.model.model_copy(update={"d_model": width})
    return Cell(heads=heads, dimension=4, width=width, run=cell.run.model_copy(update={"name": name, "model": model}))


def cover(result: Result, until: int, sizes: Sequence[int] = (1,)) -> Coverage:
    """Of the rows that each seed has by a step, confirmed by then."""
    return estimate_coverage(gather_learned(result.read_units(until=until)), sizes, Streams(0).generator("bootstrap"))


def list_points(results: Results) -> list[Point]:
    """Every way to spend the work, where its cells were run."""
    cells = {(int(result["heads"]), result.cell.run.model.d_model): result for result in results}
    base = cells.get((1, 32))
    if base is None:
        return []
    unit = count_flops(base.cell.run)
    pooled = cover(base, BUDGET, POOLED)
    points = [
        Point(SEEDS_OF_BASE, f"K = {size}", float(size), share)
        for size, share in zip(pooled.sizes, pooled.shares, strict=True)
    ]
    for factor in POOLED:
        if factor * BUDGET <= base.budget:
            (share,) = cover(base, factor * BUDGET).shares
            points.append(Point("one model, longer", f"{factor * BUDGET:,} steps", float(factor), share))
    ways = (("one model, more heads", [(h, 32) for h in HEADS]), ("one model, wider", [(1, w) for w in WIDTHS]))
    for way, keys in ways:
        for key in keys:
            if key in cells:
                (share,) = cover(cells[key], BUDGET).shares
                what = f"{key[0]} heads" if way.endswith("heads") else f"width {key[1]}"
                points.append(Point(way, what, count_flops(cells[key].cell.run) / unit, share))
    return points


def draw(results: Results) -> Figure:
    """The share of the rows against the work."""
    figure, (panel,) = open_panels(1, height=4.0)
    points = list_points(results)
    for colour, way in zip(OURS, dict.fromkeys(point.way for point in points), strict=False):
        own = [point for point in points if point.way == way]
        work, share = [point.work for point in own], [point.share.value or 0.0 for point in own]
        panel.plot(work, share, color=colour, marker="o", markersize=4, linewidth=1.4, label=way)
        lower, upper = [point.share.lower for point in own], [point.share.upper for point in own]
        panel.fill_between(work, lower, upper, color=colour, alpha=0.12, linewidth=0)
    panel.set_xscale("log", base=2)
    panel.set_ylim(0.0, 1.02)
    label(panel, "linear map, S=8, s=2", "work of training, one small model = 1", "share of the rows")
    add_legend(panel)
    return figure


def tabulate(results: Results) -> Sequence[Table]:
    """Every point of the figure."""
    rows = [
        (
            point.way,
            point.what,
            f"{point.work:.2f}",
            f"{point.share.value:.0%} [{point.share.lower:.0%}, {point.share.upper:.0%}]",
        )
        for point in list_points(results)
    ]
    note = (
        f"By step {BUDGET} but for the longer ones; {SEEDS} seeds. A row is covered if one of K seeds has it. Work: "
        "operations of training by arithmetic on the description. Brackets: 95%, by a bootstrap over seeds."
    )
    return [Table("What the work buys", ("way", "model", "work", "rows"), rows, note)] if rows else []


def judge(results: Results) -> Sequence[Claim]:
    """Whether K seeds cover more than one model of the same work, for each way to spend it on one."""
    points = list_points(results)
    seeds = {point.work: point for point in points if point.way == SEEDS_OF_BASE}
    claims: list[Claim] = []
    for way in dict.fromkeys(point.way for point in points if point.way != SEEDS_OF_BASE):
        dearest = max((point for point in points if point.way == way), key=lambda point: point.work)
        fair = max((work for work in seeds if work <= dearest.work * 1.1), default=None)
        if fair is None or dearest.work == 1.0:
            continue
        pooled = seeds[fair]
        better, worse = (
            pooled.share.lower > dearest.share.upper,
            pooled.share.upper < dearest.share.lower,
        )
        claims.append(
            Claim(
                f"K seeds cover more rows than {way} at the same work",
                "reproduced" if better else "not reproduced" if worse else "open",
                f"{pooled.what}: {pooled.share.value:.0%} [{pooled.share.lower:.0%}, {pooled.share.upper:.0%}] for "
                f"{pooled.work:.1f} times the work; {dearest.what}: {dearest.share.value:.0%} "
                f"[{dearest.share.lower:.0%}, {dearest.share.upper:.0%}] for {dearest.work:.1f} times"
                + ("" if better or worse else "; the intervals overlap, so neither is shown to be better"),
                ours=True,
            )
        )
    return claims


study = Study(
    cells=[make_cell(heads, 32) for heads in HEADS] + [make_cell(1, width) for width in WIDTHS[1:]],
    draw=draw,
    tabulate=tabulate,
    judge=judge,
)
