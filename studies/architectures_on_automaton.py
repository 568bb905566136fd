"""Every architecture on cellular automata: the pattern is fixed by position, the rule is inferred in context."""

from collections.abc import Sequence

from saltus.paper.claims import ON_MIXERS
from saltus.paper.setting import Setting, automaton
from saltus.specs import RunSpec
from saltus.studies.claims import Claim
from saltus.studies.contest import Contest, list_architectures, make_study
from saltus.studies.ranking import rank_arms
from saltus.studies.results import Results


def make(
    pools: Sequence[int], states: int, layers: int, d_model: int, *, tokens: int, seeds: int, swept: int, steps: int
) -> Contest:
    """All arms with the parameters of the transformer, on 8 cells; the more rules there are, the harder."""
    arms = list_architectures(layers=layers, d_model=d_model, heads=8)

    def cell(rules: int, seeds: int) -> RunSpec:
        return automaton(
            f"rules-{rules}",
            size=8,
            states=states,
            rules=rules,
            model=arms["transformer"],
            seeds=seeds,
            steps=steps,
            setting=Setting(batch=tokens),  # an initialisation that no arm was tuned for
            stop_when_solved=True,
        )

    cells, sweeps = ({f"rules-{rules}": cell(rules, number) for rules in pools} for number in (seeds, swept))
    return Contest(arms, cells, sweeps, rates=(1e-3, 3e-3, 1e-2, 3e-2))


full = make((1, 2, 16, 256), 16, 4, 128, tokens=8192, seeds=8, swept=2, steps=10_000)
laptop = make((1, 2), 4, 2, 64, tokens=2048, seeds=2, swept=1, steps=600)


def judge(results: Results) -> Sequence[Claim]:
    """The paper: here MLP-Mixer is not better than the transformer, and most others are worse."""
    return rank_arms(full.list_arms(results), best="transformer", over="transformer")


study = make_study(full, laptop, judge=judge, about=ON_MIXERS)
