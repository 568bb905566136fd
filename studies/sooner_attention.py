"""Does it help to sharpen attention, or to tell it where to look? Temperature and supervision, with their placebos."""

from saltus.specs import SupervisionSpec, TemperatureSpec
from saltus.studies.trial import Trial, make_study
from sooner_repetition import CONTROL, RATES, SCALES, SWEEP_SEEDS, change

UNTIL = 400
"""Steps over which a temperature goes to that of the control."""

TEMPERATURES = {
    "sharp first": TemperatureSpec(factor=3.0, until=UNTIL, schedule="linear"),
    "soft first": TemperatureSpec(factor=0.3, until=UNTIL, schedule="linear"),
    "sharp throughout": TemperatureSpec(factor=3.0),
}
SUPERVISED = {
    "supervision of the best head": SupervisionSpec(weight=1.0),
    "supervision of all heads": SupervisionSpec(weight=1.0, match="all"),
    "light supervision of the best head": SupervisionSpec(weight=0.1),
}

study = make_study(
    Trial(
        CONTROL,
        changes={name: change(intervention=what) for name, what in (TEMPERATURES | SUPERVISED).items()},
        placebos={
            name: change(intervention=what.model_copy(update={"rows": "values"})) for name, what in TEMPERATURES.items()
        }
        | {
            name: change(intervention=what.model_copy(update={"toward": "placebo"}))
            for name, what in SUPERVISED.items()
        },
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
