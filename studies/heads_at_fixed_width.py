"""How many heads at a width of 128: the head dimension is what is left, 128 / heads."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from saltus.measure.outcomes import count_learned, final_loss
from saltus.paper.setting import automaton, linear_map, small_automaton, with_heads
from saltus.specs import TransformerSpec
from saltus.studies.comparison import Claim, Comparison
from saltus.studies.panels import OURS, add_legend, draw_ours, label, open_plate
from saltus.studies.results import Results

TASKS = {"linear-map": "linear map, S=16, s=3", "automaton": "cellular automata, S=16 (laptop: S=8, 2 rules)"}
HEADS = (1, 2, 4, 8, 16, 32, 64, 128)


MAP_MODELS = {heads: with_heads(heads) for heads in HEADS}
AUTOMATON_MODELS = {heads: TransformerSpec(layers=4, d_model=128, heads=heads) for heads in HEADS}

runs = [
    *(linear_map(f"linear-map-h{heads}", model=model, seeds=3) for heads, model in MAP_MODELS.items()),
    *(
        automaton(f"automaton-h{heads}", model=model, seeds=3, steps=10_000)
        for heads, model in AUTOMATON_MODELS.items()
    ),
]
laptop = [
    *(linear_map(f"linear-map-h{heads}", model=MAP_MODELS[heads], seeds=1, steps=2_500) for heads in HEADS[:6]),
    *(small_automaton(f"automaton-h{heads}", model=AUTOMATON_MODELS[heads], seeds=1) for heads in HEADS[:6]),
]


def list_heads(results: Results, task: str) -> list[int]:
    """The numbers of heads that have been run."""
    return [heads for heads in HEADS if f"{task}-h{heads}" in results]


def draw(results: Results) -> Figure:
    """Final loss against heads, for each task."""
    figure, axes = open_plate(2)
    for panel, (task, title) in zip(axes, TASKS.items(), strict=True):
        cells = {heads: results.get(f"{task}-h{heads}") for heads in HEADS}
        losses = [final_loss(cell) if cell else [] for cell in cells.values()]
        draw_ours(panel, cells, losses, "ours, dots: seeds", OURS[0])
        panel.set_xscale("log", base=2)
        label(panel, title, "heads (head dimension 128 / heads)", "final training loss (nats)")
        add_legend(panel)
    return figure


def compare(results: Results) -> Sequence[Comparison]:
    """Final loss; the authors' points of this figure were not read off."""
    return [Comparison(name, None, list(final_loss(results[name])), results.scale(name)) for name in results]


def judge(results: Results) -> Sequence[Claim]:
    """More heads learn more rows of the linear map; automata need a minimum of head dimension."""
    return [*_judge_map(results), *_judge_automaton(results)]


def _judge_map(results: Results) -> Sequence[Claim]:
    rows = {h: count_learned(results[f"linear-map-h{h}"]) for h in list_heads(results, "linear-map")}
    if len(rows) < 2:
        return []
    few, many = (rows[h].mean() for h in (min(rows), max(rows)))
    best = max(rows, key=lambda h: rows[h].mean())
    return [
        Claim(
            "linear map: many tiny heads beat a few large ones at the same width",
            "reproduced" if many > few and best >= 8 else "in part" if best > min(rows) else "not reproduced",
            "rows learned by heads: " + "; ".join(f"{h}: {', '.join(map(str, n))}" for h, n in rows.items()),
        )
    ]


def _judge_automaton(results: Results) -> Sequence[Claim]:
    loss = {h: float(final_loss(results[f"automaton-h{h}"]).mean()) for h in list_heads(results, "automaton")}
    if len(loss) < 3:
        return []
    best = min(loss, key=loss.__getitem__)
    scales = {results.scale(f"automaton-h{h}") for h in loss}
    whole = min(loss) < best < max(loss) and scales == {"full"}
    told = ", ".join(f"{h}: {value:.3f}" for h, value in loss.items())
    return [
        Claim(
            "cellular automata: more heads help until a head is too small",
            "reproduced" if whole else "in part" if best > min(loss) else "not reproduced",
            f"final loss by heads: {told} ({' and '.join(sorted(scales))} size)",
        )
    ]
