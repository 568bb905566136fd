"""How much bias, and for how long? Logits toward the true keys, constant, released and falling, beside wrong keys."""

from saltus.specs import BiasSpec
from saltus.studies.trial import Trial, make_study
from sooner_repetition import CONTROL, RATES, SCALES, SWEEP_SEEDS, change

DOSES = (1.0, 2.0, 4.0, 8.0, 10.0)
UNTIL = 20
"""Steps after which a bias that does not last is gone: before any seed knows all rows with it."""

BIASES = {f"bias of {dose:g}": BiasSpec(strength=dose) for dose in DOSES} | {
    "bias of 8, released": BiasSpec(strength=8.0, until=UNTIL),
    "bias of 8, falling": BiasSpec(strength=8.0, until=UNTIL, schedule="linear"),
    "bias of 8, falling by a cosine": BiasSpec(strength=8.0, until=UNTIL, schedule="cosine"),
}

study = make_study(
    Trial(
        CONTROL,
        changes={name: change(intervention=bias) for name, bias in BIASES.items()}
        | {"blocked": change(intervention=BiasSpec(strength=10.0, toward="blocked"))},
        placebos={
            name: change(intervention=bias.model_copy(update={"toward": "placebo"})) for name, bias in BIASES.items()
        },
        rates=(*RATES, 3e-2),
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
