"""Every architecture on cellular automata: the pattern is fixed by position, the rule is inferred in context."""

from collections.abc import Mapping, Sequence

from saltus.contest import Contest, list_architectures, rank_arms
from saltus.paper.setting import automaton
from saltus.records import RunRecords
from saltus.report.comparison import Claim
from saltus.results import Results
from saltus.specs import RunSpec


def make(
    sizes: Sequence[int], states: int, layers: int, d_model: int, *, seeds: int, swept: int, steps: int
) -> Contest:
    """All arms with the parameters of the transformer; the longer context is the harder cell."""
    arms = list_architectures(layers=layers, d_model=d_model, heads=8)

    def cell(size: int, seeds: int) -> RunSpec:
        return automaton(f"cells-{size}", size=size, states=states, model=arms["transformer"], seeds=seeds, steps=steps)

    cells = {f"cells-{size}": cell(size, seeds) for size in sizes}
    return Contest(arms, cells, {f"cells-{sizes[0]}": cell(sizes[0], swept)})


contests = {
    "full": make((4, 8), 16, 4, 128, seeds=8, swept=2, steps=5_000),
    "laptop": make((4, 8), 4, 2, 64, seeds=2, swept=1, steps=600),
}
runs, laptop = contests["full"].list_sweeps(), contests["laptop"].list_sweeps()
draw, arms = contests["full"].draw, contests["full"].list_arms


def then(results: Mapping[str, RunRecords], scale: str) -> list[RunSpec]:
    """The cells, each arm at the rate that its sweep chooses."""
    return contests[scale].list_reported(results)


def judge(results: Results) -> Sequence[Claim]:
    """The paper: here MLP-Mixer is not better than the transformer, and most others are worse."""
    return rank_arms(arms(results), best="transformer", over="transformer")
