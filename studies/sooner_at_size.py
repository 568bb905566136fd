"""Do biased inputs also help on the paper's own cell? S=16, s=3, its model; beside them another map made as easy."""

from saltus.paper.setting import PAPER, linear_map
from saltus.specs import InputBiasPhase, ScheduleSpec
from saltus.studies.trial import Trial, make_study
from sooner_repetition import change

SEEDS = 8
TRIED = 16
"""Seeds of the change: one of its first eight never learned, and then eight cannot say where the median ends."""

STEPS = 4_000
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
SCALES = (1.0, PAPER.linear_map.initialisation_scale)
SWEEP_SEEDS = 2

CONTROL = linear_map(
    "control", steps=STEPS, seeds=SEEDS, evaluate=ScheduleSpec(every=25), patterns=False, compile=False
)
"""The paper's model and the batch of its preset; uncompiled, because arms differ in shapes."""

FIRST = InputBiasPhase(zero=0.9, steps=500)
"""One symbol nine times in ten at first, annealed to half in so many steps."""

study = make_study(
    Trial(
        CONTROL,
        changes={"biased inputs": change(CONTROL, curriculum=(FIRST,), seeds=TRIED)},
        placebos={"biased inputs": change(CONTROL, curriculum=(FIRST.model_copy(update={"source": "other"}),))},
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
