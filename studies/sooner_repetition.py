"""Does it help to see the same sequences again? A pool that comes back in every batch, for a while or throughout."""

from saltus.specs import RepeatSpec
from saltus.studies.trial import Trial, make_study
from sooner import CONTROL, RATES, SCALES, SWEEP_SEEDS, change

POOLS = {
    "pool of 64, half of each batch": RepeatSpec(sequences=64, probability=0.5),
    "pool of 64, half of each batch, 200 steps": RepeatSpec(sequences=64, probability=0.5, until=200),
    "pool of 1,024, half of each batch": RepeatSpec(sequences=1024, probability=0.5),
}

study = make_study(
    Trial(
        CONTROL,
        changes={name: change(intervention=pool) for name, pool in POOLS.items()},
        placebos={
            name: change(intervention=pool.model_copy(update={"source": "fresh"})) for name, pool in POOLS.items()
        },
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
