"""Does a small language model learn repetition sooner? Interventions without a truth map, with their placebos.

Suites are not runs, so this study is a script: python studies/language/sooner.py
"""

from functools import partial
from pathlib import Path
from typing import Any

from saltus import Rule, api
from saltus.specs import RepeatSpec, TemperatureSpec
from saltus.specs.capabilities import RepetitionSpec
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec
from saltus.specs.pocket_interventions import KnownPatternSpec, PocketDistillationSpec
from saltus.studies.page import write_page
from saltus.studies.trial import PocketTrial

RECORDS = Path("results/records/sooner_language.parquet")
PAGE = Path("results")

CONTROL = PocketSpec(
    name="control",
    models=(PocketModelSpec(name="w32", layers=2, d_model=32, heads=4),),
    seeds=8,
    corpus=PeriodicCorpusSpec(vocabulary=12),
    length=16,
    batch=32,
    steps=320,
    every=16,
)
"""Two layers of four heads on random strings of 2 to 8 words that repeat."""

ASKED = RepetitionSpec(prompts=64, tokens=6)
"""Strings of six words that stand twice; the last word of the second time is the target."""
RULE = Rule(above=0.75, hold=2)

UNTIL, SHARE = 100, 1 / 8
"""Steps of an intervention, about half of what the control takes; sequences of a batch whose patterns are read."""

TEACHER = CONTROL.vary(
    name="teacher",
    models=(PocketModelSpec(name="w64", layers=2, d_model=64, heads=8),),
    seeds=1,
    learning_rate=4e-3,
    initialisation_scale=2.0,
)


def supervise(**values: Any) -> tuple[KnownPatternSpec, ...]:
    """The two patterns of induction, each in its layer (arXiv 2209.11895)."""
    layers: dict[Any, int] = {"previous_token": 0, "induction": 1}
    return tuple(
        KnownPatternSpec(pattern=pattern, layers=(layer,), weight=1.0, until=UNTIL, share=SHARE, **values)
        for pattern, layer in layers.items()
    )


def learn(*checkpoints: int) -> PocketDistillationSpec:
    """From these checkpoints of the teacher, each in its turn."""
    return PocketDistillationSpec(
        teacher=TEACHER.identify(TEACHER.name),
        size="w64",
        checkpoints=checkpoints,
        stretch=UNTIL // len(checkpoints),
        until=UNTIL,
        share=SHARE,
    )


SHARP = TemperatureSpec(factor=3.0, until=UNTIL, schedule="linear")
POOL = RepeatSpec(sequences=1024, probability=0.5)

PAIRS: dict[str, tuple[Any, Any]] = {
    "sharp attention first": (SHARP, SHARP.model_copy(update={"rows": "values"})),
    "supervision of both layers": (supervise(), supervise(toward="placebo")),
    "distillation from a wider model": (learn(128, 192, 256, 320), learn(0)),
    "pool of 1,024, half of each batch": (POOL, POOL.model_copy(update={"source": "fresh"})),
}
"""By name, the intervention and its placebo."""

TRIAL = PocketTrial(
    CONTROL,
    changes={name: CONTROL.vary(intervention=change) for name, (change, _) in PAIRS.items()},
    placebos={name: CONTROL.vary(intervention=placebo) for name, (_, placebo) in PAIRS.items()},
    rates=(2e-3, 4e-3, 8e-3),
    scales=(1.0, 2.0),
    sweep_seeds=2,
    teacher=TEACHER,
)


def main() -> None:
    """Train what is not kept, and write the page."""
    results = TRIAL.follow(partial(api.measure_pockets, capability=ASKED, rule=RULE, kept=RECORDS, processes=1))
    page = write_page(
        "sooner_language",
        str(__doc__).splitlines()[0],
        figure=TRIAL.draw(results),
        claims=TRIAL.judge(results),
        tables=TRIAL.tabulate(results),
        note=f"Repetition is there where at least {RULE.level:.0%} of {ASKED.prompts} prompts are right at two "
        "checkpoints in a row; checkpoints are models without their interventions. The placebo of supervision, wrong "
        "keys in both layers, holds a model up: there the ratio to the control is what tells.",
        command="python studies/language/sooner.py",
        to=PAGE,
    )
    print(f"wrote {page}")  # noqa: T201 - it is a script


if __name__ == "__main__":
    main()
