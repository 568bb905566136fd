"""Which heads learn a map soonest at equal operations? A race over number, dimension, layers and rates of heads."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from matplotlib.figure import Figure

from race_heads import make
from saltus.measure.bootstrap import bootstrap_emergences
from saltus.measure.intervals import Estimate
from saltus.seeding import Streams
from saltus.specs import RunSpec
from saltus.studies.cells import Cell, vary_run
from saltus.studies.claims import Claim, Table
from saltus.studies.flops import match_operations
from saltus.studies.panels import label, open_panels
from saltus.studies.race import Race
from saltus.studies.results import Result, Results
from saltus.studies.study import Study

HEADS, DIMENSIONS, LAYERS, FACTORS = (1, 2, 4, 8), (4, 8, 16), (1, 2), (1.0, 3.0)
"""The last on the learning rate of queries and keys, which costs nothing."""
LARGEST = (8, 16, 1, 1.0)
"""Heads, head dimension, layers, factor: the shape with the most attention; others have a wider MLP instead."""
WIDTH = 64
"""Of its MLP."""


def list_shapes() -> list[Cell]:
    """Every shape whose attention leaves room for an MLP, of two layers those half as wide; each at every factor."""
    keys = [
        (heads, dimension, layers, factor)
        for factor in FACTORS
        for layers in LAYERS
        for dimension in DIMENSIONS
        for heads in HEADS
        if heads * dimension * layers <= LARGEST[0] * LARGEST[1] // layers
    ]
    matched = match_operations({str(key): shape(*key) for key in (LARGEST, *keys)})
    return [Cell(heads=key[0], dimension=key[1], layers=key[2], factor=key[3], run=matched[str(key)]) for key in keys]


def shape(heads: int, dimension: int, layers: int, factor: float) -> RunSpec:
    """The run of the race over heads with so many layers, its queries and keys so many times as fast."""
    run = make(heads, dimension).run
    model = run.model.model_copy(update={"layers": layers, "d_mlp": WIDTH})
    rates = {} if factor == 1.0 else {"*.query.*": factor, "*.key.*": factor}
    name = f"h{heads}-d{dimension}-l{layers}" + (f"-x{factor:g}" if rates else "")
    return vary_run(run, name=name, model=model, training={"rates": rates})


def rank(results: Results) -> list[tuple[Result, Estimate, int]]:
    """Each shape with its median step and how many of its seeds were trained, the soonest first."""
    found = [
        (result, bootstrap_emergences(result.tasks, Streams(0).generator("bootstrap")).quantile(), len(result.tasks))
        for result in results
    ]
    return sorted(found, key=lambda each: (each[1].value or 0.0, -each[2]))


def draw(results: Results) -> Figure:
    """The map of the search: the median step of each shape, darker where sooner; how many seeds it got."""
    figure, axes = open_panels(len(LAYERS), len(FACTORS), height=3.6)
    known = {
        (int(r["heads"]), int(r["dimension"]), int(r["layers"]), float(r["factor"])): (estimate.value or np.nan, seeds)
        for r, estimate, seeds in rank(results)
    }
    steps = [step for step, _ in known.values() if np.isfinite(step)]
    for panel, (factor, layers) in zip(axes, product(FACTORS, LAYERS), strict=True):
        values = np.full((len(DIMENSIONS), len(HEADS)), np.nan)
        for row, dimension in enumerate(DIMENSIONS):
            for column, heads in enumerate(HEADS):
                step, seeds = known.get((heads, dimension, layers, factor), (np.nan, 0))
                values[row, column] = step if np.isfinite(step) else np.nan
                told = "not run" if not seeds else f"{step:,.0f}" if np.isfinite(step) else "beyond"
                panel.text(column, row, f"{told}\n{seeds} seeds", ha="center", va="center", fontsize=8)
        if steps:
            panel.imshow(
                np.log(values), cmap="Blues_r", vmin=np.log(min(steps)) - 1, vmax=np.log(max(steps)), alpha=0.6
            )
        panel.set_xticks(range(len(HEADS)), [str(heads) for heads in HEADS])
        panel.set_yticks(range(len(DIMENSIONS)), [str(dimension) for dimension in DIMENSIONS])
        panel.grid(visible=False)
        told = f"{layers} layer{'s' if layers > 1 else ''}" + (f", queries and keys x{factor:g}" if factor > 1 else "")
        label(panel, f"{told}: median step", "heads", "head dimension")
    return figure


def tabulate(results: Results) -> Sequence[Table]:
    """The ranking."""
    rows = [
        (
            str(place),
            result.name,
            f"{result.cell.run.model.mlp_width}",
            str(seeds),
            "beyond" if estimate.value is None or np.isinf(estimate.value) else f"{estimate.value:,.0f}",
            f"{estimate.lower:,.0f} to {'no limit' if np.isinf(estimate.upper) else f'{estimate.upper:,.0f}'}",
        )
        for place, (result, estimate, seeds) in enumerate(rank(results), 1)
    ]
    note = (
        "By Turnbull's median of the step with the whole map. What the race dropped has few seeds and a wide interval."
    )
    return [Table("Shapes, the soonest first", ("", "shape", "MLP", "seeds", "median step", "95%"), rows, note)]


def judge(results: Results) -> Sequence[Claim]:
    """Whether the soonest shape of several heads is sooner than the soonest with one, or later, or neither is shown."""
    ranked = rank(results)
    single, several = (
        next((each for each in ranked if (each[0]["heads"] == 1) is alone), None) for alone in (True, False)
    )
    if single is None or several is None:
        return []
    sooner, later = several[1].upper < single[1].lower, single[1].upper < several[1].lower
    told = "; ".join(
        f"{result.name}: {median.lower:,.0f} to {median.upper:,.0f}, n={seeds}"
        for result, median, seeds in (several, single)
    )
    return [
        Claim(
            "at equal operations several heads learn the map sooner than any single one",
            "reproduced" if sooner else "not reproduced" if later else "open",
            f"median step of the soonest with several heads and with one, {told}"
            + ("" if sooner or later else "; the intervals overlap"),
            ours=True,
        )
    ]


study = Study(cells=list_shapes(), draw=draw, tabulate=tabulate, judge=judge, race=Race(by="median step"))
