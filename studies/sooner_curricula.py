"""Is the task learned sooner if something easier comes first? Each curriculum beside another map made as easy."""

from saltus.specs import (
    InputBiasPhase,
    LinearMapSpec,
    MixturePhase,
    NoiseSpec,
    RepeatPhase,
    RepeatSpec,
    RowsPhase,
    SizePhase,
    SparsityPhase,
)
from saltus.specs.curricula import BasePhaseSpec, EasedSpec
from saltus.studies.trial import Trial, make_study
from sooner_repetition import RATES, SCALES, SWEEP_SEEDS, change

SEEDS = 8
FIRST = 300
"""Steps of a phase: before half of the control's seeds know all rows."""

CONTROL = change(seeds=SEEDS)

EASED: dict[str, EasedSpec] = {
    "one key first": SparsityPhase(keys=1, steps=FIRST),
    "one key until it is known": SparsityPhase(keys=1, steps=2 * FIRST, until_solved=1.0),
    "one key in half of the sequences": SparsityPhase(keys=1, probability=0.5, steps=2 * FIRST),
    "six rows of context first": SizePhase(tokens=18, steps=FIRST),
    "biased inputs": InputBiasPhase(zero=0.9, steps=2 * FIRST),
}
"""Their placebo is another map that is made easier in the same way. Two symbols cannot be fewer."""

COPIES = MixturePhase(task=LinearMapSpec(size=12, sparsity=1), probability=0.5, steps=2 * FIRST)
POOL = RepeatSpec(sequences=64, probability=0.5)

PAIRS: dict[str, tuple[BasePhaseSpec, BasePhaseSpec]] = {
    **{name: (phase, phase.model_copy(update={"source": "other"})) for name, phase in EASED.items()},
    "six rows first": (
        RowsPhase(number=6, steps=FIRST),
        RowsPhase(number=6, steps=FIRST, choice="changing"),
    ),
    "copies in half of the sequences": (
        COPIES,
        COPIES.model_copy(update={"task": NoiseSpec(length=24, symbols=2)}),
    ),
    "pool of 64 first": (
        RepeatPhase(pool=POOL, steps=FIRST),
        RepeatPhase(pool=POOL.model_copy(update={"source": "fresh"}), steps=FIRST),
    ),
}
"""By name, what comes first, and its placebo."""

study = make_study(
    Trial(
        CONTROL,
        changes={name: change(seeds=SEEDS, curriculum=(phase,)) for name, (phase, _) in PAIRS.items()},
        placebos={name: change(seeds=SEEDS, curriculum=(placebo,)) for name, (_, placebo) in PAIRS.items()},
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
