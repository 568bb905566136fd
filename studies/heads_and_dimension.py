"""More heads beat bigger heads: final loss by number of heads and head dimension, the width being their product."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from saltus.paper.claims import ON_HEADS
from saltus.paper.setting import LINEAR_MAP_MODEL, USUAL, automaton, linear_map, with_heads
from saltus.paper.targets import read_targets, read_tolerance
from saltus.specs import RunSpec, TransformerSpec
from saltus.studies.cells import Cell
from saltus.studies.claims import Claim, Comparison
from saltus.studies.panels import OURS, THEIRS, add_legend, draw_ours, label, open_panels
from saltus.studies.results import Results
from saltus.studies.study import Study

TASKS = {"linear_map": "linear map, S=16, s=3", "cellular_automata": "cellular automata, S=16 (laptop: S=8, 2 rules)"}
DIMENSIONS = (4, 8, 16)
CLAIMS = {
    "linear_map": "at one width, more heads beat bigger heads",
    "cellular_automata": "heads can be too small: at one width, fewer of 16 dimensions beat those of 4",
}


def list_theirs(task: str, dimension: int) -> dict[int, float]:
    """By number of heads, the loss of the authors' figure."""
    data = read_targets("heads_width")["data"][task][f"d_head={dimension}"]
    return {int(heads): loss for heads, loss in data.items()}


def make_model(task: str, heads: int, dimension: int) -> TransformerSpec:
    """The model of width heads * dimension."""
    width = heads * dimension
    if task == "linear_map" and width == LINEAR_MAP_MODEL.d_model:
        return with_heads(heads)  # other studies have it too: it is trained once
    return TransformerSpec(layers=1 if task == "linear_map" else 4, d_model=width, heads=heads, d_head=dimension)


def make_run(name: str, task: str, model: TransformerSpec, *, small: bool) -> RunSpec:
    """A run of a model on a task of `TASKS`; a small run takes minutes."""
    if task == "linear_map":
        return linear_map(name, model=model, seeds=1 if small else 3, steps=2_500 if small else 10_000)
    if small:  # of 256 rules it would take hours
        setting = replace(USUAL.automaton, batch=2048)
        return automaton(name, size=8, rules=2, steps=600, seeds=1, model=model, setting=setting)
    return automaton(name, model=model, seeds=3, steps=10_000)


def make(*, small: bool) -> list[Cell]:
    """The cells of the authors' figure; small, up to the width of the paper's model."""
    return [
        Cell(
            task=task,
            heads=heads,
            dimension=dimension,
            run=make_run(
                f"{task.replace('_', '-')}-h{heads}-d{dimension}",
                task,
                make_model(task, heads, dimension),
                small=small,
            ),
        )
        for task in TASKS
        for dimension in DIMENSIONS
        for heads in list_theirs(task, dimension)
        if not small or heads * dimension <= 128
    ]


def draw(results: Results) -> Figure:
    """For each task a curve for each head dimension, theirs in grey."""
    figure, axes = open_panels(2, height=3.8)
    for panel, task in zip(axes, TASKS, strict=True):
        for colour, dimension in zip(OURS, DIMENSIONS, strict=False):
            theirs = list_theirs(task, dimension)
            dash = {4: "-", 8: "--", 16: ":"}[dimension]
            across, up = list(theirs), list(theirs.values())
            panel.plot(across, up, color=THEIRS, linestyle=dash, label=f"authors, d_head={dimension}")
            found = results.where(task=task, dimension=dimension).by("heads")
            if found:  # the panel is shared, so one dimension that has not been run says nothing in it
                losses = [found[heads].final_loss if heads in found else [] for heads in across]
                draw_ours(panel, across, losses, f"ours, d_head={dimension}", colour)
        panel.set_xscale("log", base=2)
        label(panel, TASKS[task], "heads", "final training loss (nats)")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss of each cell."""
    full = {cell.name: cell.run.task for cell in study.cells}
    return [
        result.compare_loss(
            f"{TASKS[str(result['task'])]}: {result['heads']} heads of {result['dimension']}",
            # An automaton of other rules than theirs has another loss.
            list_theirs(str(result["task"]), int(result["dimension"]))[int(result["heads"])]
            if result.cell.run.task == full[result.name]
            else None,
            read_tolerance("heads_width"),
        )
        for result in results
    ]


def judge(results: Results) -> Sequence[Claim]:
    """At one width, more and smaller heads against fewer and larger ones; which are better depends on the task."""
    claims: list[Claim] = []
    for task, title in TASKS.items():
        pairs: list[tuple[int, float, float]] = []
        for width in (16, 32, 64, 128):
            found = [results.get(task=task, heads=width // d, dimension=d) for d in DIMENSIONS]
            losses = [float(result.final_loss.mean()) for result in found if result]
            if len(losses) > 1:
                pairs.append((width, losses[0], losses[-1]))
        if not pairs:
            continue
        # Cells that learned nothing, or everything, cannot tell.
        telling = [(small, large) for _, small, large in pairs if abs(small - large) > 0.01]
        wins = sum((small < large) == (task == "linear_map") for small, large in telling)
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


study = Study(cells=make(small=False), laptop=make(small=True), draw=draw, compare=compare, judge=judge, about=ON_HEADS)
