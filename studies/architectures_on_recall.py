"""Every architecture on associative recall, where the true pattern is keyed by content and differs in each sequence."""

from collections.abc import Sequence

from saltus.paper.claims import ON_MIXERS
from saltus.specs import AssociativeRecallSpec, RunSpec, ScheduleSpec, TrainingSpec
from saltus.studies.claims import Claim
from saltus.studies.contest import Contest, list_architectures, make_study
from saltus.studies.ranking import rank_arms
from saltus.studies.results import Results


def make(pairs: Sequence[int], d_model: int, *, seeds: int, swept: int, steps: int) -> Contest:
    """All arms with the parameters of the transformer, two layers deep; more pairs are the harder cell."""
    arms = list_architectures(layers=2, d_model=d_model, heads=4)

    def cell(number: int, seeds: int) -> RunSpec:
        return RunSpec(
            name=f"pairs-{number}",
            task=AssociativeRecallSpec(pairs=number, queries=number, keys=2 * number, values=2 * number),
            model=arms["transformer"],
            training=TrainingSpec(
                steps=steps,
                batch_sequences=64,
                loss="scored",
                evaluate=ScheduleSpec(every=100),
                snapshot=ScheduleSpec(every=steps, factor=1000),
                stop_when_solved=True,
            ),
            seeds=seeds,
        )

    cells, sweeps = ({f"pairs-{number}": cell(number, count) for number in pairs} for count in (seeds, swept))
    return Contest(arms, cells, sweeps, rates=(3e-4, 1e-3, 3e-3, 1e-2, 3e-2))


full = make((2, 3, 8, 32), 128, seeds=8, swept=4, steps=30_000)
laptop = make((2, 3), 64, seeds=4, swept=1, steps=1_200)


def judge(results: Results) -> Sequence[Claim]:
    """A public replication: here a delta rule is ahead of the transformer, and MLP-Mixer learns nothing."""
    return rank_arms(full.list_arms(results), best="gated-delta-net", over="transformer")


study = make_study(full, laptop, judge=judge, about=ON_MIXERS)
