"""Every architecture on the linear map, where the true pattern is fixed by position."""

from collections.abc import Mapping, Sequence

from saltus.paper.claims import ON_MIXERS
from saltus.paper.setting import Setting, linear_map
from saltus.specs import RunSpec
from saltus.studies.claims import Claim
from saltus.studies.contest import Contest, list_architectures, make_study
from saltus.studies.ranking import rank_arms
from saltus.studies.results import Results


def make(size: int, d_model: int, *, sequences: int, seeds: int, swept: Mapping[int, int], steps: int) -> Contest:
    """All arms with the parameters of the transformer, at s=2 and s=3; a rate that is too high at s=3 suits s=2."""
    arms = list_architectures(layers=1, d_model=d_model, heads=8)

    def cell(sparsity: int, seeds: int) -> RunSpec:
        return linear_map(
            f"s{sparsity}",
            size=size,
            sparsity=sparsity,
            model=arms["transformer"],
            seeds=seeds,
            steps=steps,
            setting=Setting(batch=sequences),  # an initialisation that no arm was tuned for
        )

    cells = {f"s{s}": cell(s, seeds) for s in swept}
    sweeps = {f"s{s}": cell(s, number) for s, number in swept.items()}
    return Contest(arms, cells, sweeps, rates=(1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2))


full = make(16, 128, sequences=256, seeds=8, swept={2: 4, 3: 4}, steps=10_000)
laptop = make(8, 64, sequences=64, seeds=4, swept={2: 1, 3: 2}, steps=1_000)


def judge(results: Results) -> Sequence[Claim]:
    """The paper: MLP-Mixer is best here, and most others do worse than the transformer."""
    return rank_arms(full.list_arms(results), best="mlp-mixer", over="transformer")


study = make_study(full, laptop, judge=judge, about=ON_MIXERS)
