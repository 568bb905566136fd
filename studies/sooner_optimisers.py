"""Does another optimiser find patterns sooner? Muon, and faster queries and keys beside faster values."""

from saltus.studies.trial import Trial, make_study
from sooner_repetition import CONTROL, RATES, SCALES, SWEEP_SEEDS, change

FACTOR = 3.0

FASTER_SEARCH = change(training={"rates": {"*.query.*": FACTOR, "*.key.*": FACTOR}})
"""What decides where a head looks."""

FASTER_REST = change(training={"rates": {"*.value.*": FACTOR, "*.output.*": FACTOR}})
"""As many weights, which decide what a head passes on."""

study = make_study(
    Trial(
        CONTROL,
        changes={
            "Muon": change(training={"optimizer": "muon"}),
            "queries and keys three times as fast": FASTER_SEARCH,
            "values and outputs three times as fast": FASTER_REST,
        },
        placebos={
            "queries and keys three times as fast": FASTER_REST,
            "values and outputs three times as fast": FASTER_SEARCH,
        },
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
