"""Do more worked examples in a context help, and do rotary positions decide it? T=2, 4, 8 at equal tokens a batch."""

from saltus.specs import LinearMapSpec, RunSpec, TransformerSpec
from saltus.studies.trial import Trial, make_study
from sooner_repetition import CONTROL, RATES, SCALES, SWEEP_SEEDS, change

SEEDS = 8
TOKENS = 768
"""In a batch: 32 sequences of two states, 8 of eight."""


def make(states: int, *, rotary: bool) -> RunSpec:
    """The control's rows and model, with so many states in a sequence."""
    task, model = CONTROL.task, CONTROL.model
    assert isinstance(task, LinearMapSpec)
    assert isinstance(model, TransformerSpec)
    return change(
        task=task.model_copy(update={"states": states}),
        model=model.model_copy(update={"positions": "rotary" if rotary else "learned"}),
        training={"batch_sequences": None, "batch_tokens": TOKENS},
        seeds=SEEDS,
    )


study = make_study(
    Trial(
        make(2, rotary=False),
        changes={
            f"{states} states, {'rotary' if rotary else 'learned'} positions": make(states, rotary=rotary)
            for rotary in (False, True)
            for states in (2, 4, 8)
            if rotary or states > 2
        },
        rates=RATES,
        scales=SCALES,
        sweep_seeds=SWEEP_SEEDS,
    )
)
