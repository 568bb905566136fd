"""More heads beat bigger heads: final loss by number of heads and head dimension, the width being their product."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from saltus.measure.outcomes import final_loss
from saltus.paper.setting import LINEAR_MAP_MODEL, automaton, linear_map, small_automaton, with_heads
from saltus.paper.targets import read_targets
from saltus.specs import RunSpec, TransformerSpec
from saltus.studies.comparison import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, draw_ours, label, open_plate
from saltus.studies.results import Results

TASKS = {"linear_map": "linear map, S=16, s=3", "cellular_automata": "cellular automata, S=16 (laptop: S=8, 2 rules)"}
DIMENSIONS = (4, 8, 16)
CLAIMS = {
    "linear_map": "at one width, more heads beat bigger heads",
    "cellular_automata": "heads can be too small: at one width, fewer of 16 dimensions beat those of 4",
}


def name_of(task: str, heads: int, dimension: int) -> str:
    """The name of a cell."""
    return f"{task.replace('_', '-')}-h{heads}-d{dimension}"


def list_heads(task: str, dimension: int) -> list[int]:
    """The numbers of heads of the authors' figure."""
    return [int(heads) for heads in read_targets("heads_width")["data"][task][f"d_head={dimension}"]]


def make_model(task: str, heads: int, dimension: int) -> TransformerSpec:
    """Of width heads * dimension."""
    width = heads * dimension
    if task == "linear_map" and width == LINEAR_MAP_MODEL.d_model:
        return with_heads(heads)  # other studies have it too: it is trained once
    return TransformerSpec(layers=1 if task == "linear_map" else 4, d_model=width, heads=heads, d_head=dimension)


def make(task: str, heads: int, dimension: int) -> RunSpec:
    """One cell."""
    name, model = name_of(task, heads, dimension), make_model(task, heads, dimension)
    if task == "linear_map":
        return linear_map(name, model=model, seeds=3)
    return automaton(name, model=model, seeds=3, steps=10_000)


def make_small(task: str, heads: int, dimension: int) -> RunSpec:
    """The same at laptop size."""
    name, model = name_of(task, heads, dimension), make_model(task, heads, dimension)
    if task == "linear_map":
        return linear_map(name, model=model, seeds=1, steps=2_500)
    return small_automaton(name, model=model, seeds=1)


CELLS = [(task, heads, d) for task in TASKS for d in DIMENSIONS for heads in list_heads(task, d)]
runs = [make(*cell) for cell in CELLS]
laptop = [make_small(task, heads, d) for task, heads, d in CELLS if heads * d <= 128]


def draw(results: Results) -> Figure:
    """For each task a curve for each head dimension, theirs in grey."""
    figure, axes = open_plate(2, height=3.8)
    for panel, task in zip(axes, TASKS, strict=True):
        for colour, dimension in zip(OURS, DIMENSIONS, strict=False):
            theirs = read_targets("heads_width")["data"][task][f"d_head={dimension}"]
            dash = {4: "-", 8: "--", 16: ":"}[dimension]
            heads = [int(h) for h in theirs]
            panel.plot(heads, theirs.values(), color=THEIRS, linestyle=dash, label=f"authors, d_head={dimension}")
            cells = {h: results.get(name_of(task, h, dimension)) for h in heads}
            if any(cells.values()):  # the panel is shared, so one dimension that has not been run says nothing in it
                losses = [final_loss(cell) if cell else [] for cell in cells.values()]
                draw_ours(panel, cells, losses, f"ours, d_head={dimension}", colour)
        panel.set_xscale("log", base=2)
        label(panel, TASKS[task], "heads", "final training loss (nats)")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss of each cell."""
    rows: list[Comparison] = []
    for task, title in TASKS.items():
        for dimension in DIMENSIONS:
            for heads, theirs in read_targets("heads_width")["data"][task][f"d_head={dimension}"].items():
                name = name_of(task, int(heads), dimension)
                if name in results:
                    records = results[name]
                    # An automaton of other rules than theirs has another loss.
                    same = records.spec.task == make(task, int(heads), dimension).task
                    cell = f"{title}: {heads} heads of {dimension}"
                    ours = list(final_loss(records))
                    rows.append(Comparison(cell, theirs if same else None, ours, results.scale(name)))
    return rows


def judge(results: Results) -> Sequence[Claim]:
    """At one width, more and smaller heads against fewer and larger ones; which are better depends on the task."""
    claims: list[Claim] = []
    for task, title in TASKS.items():
        pairs = []
        for width in (16, 32, 64, 128):
            names = [name_of(task, width // d, d) for d in DIMENSIONS if width // d in list_heads(task, d)]
            there = [name for name in names if name in results]
            if len(there) > 1:
                losses = [float(final_loss(results[name]).mean()) for name in there]
                pairs.append((width, losses[0], losses[-1]))
        if not pairs:
            continue
        # Cells that learned nothing, or everything, cannot tell.
        telling = [(w, small, large) for w, small, large in pairs if abs(small - large) > 0.01]
        wins = sum((small < large) == (task == "linear_map") for _, small, large in telling)
        verdict = (
            "not measured" if not telling else "reproduced" if wins == len(telling) else "in part" if wins else None
        )
        claims.append(
            Claim(
                f"{title}: {CLAIMS[task]}",
                verdict or "not reproduced",
                "loss with the smallest against the largest heads: "
                + "; ".join(f"width {w}: {small:.3f} against {large:.3f}" for w, small, large in pairs),
            )
        )
    return claims
