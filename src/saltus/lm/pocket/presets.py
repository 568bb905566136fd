"""Pocket suites that are ready to be trained.

Times are of two cores of a 2-GHz Xeon with nothing else to do.
"""

from pathlib import Path

from saltus.errors import SaltusError
from saltus.lm.pocket.corpora import describe_text
from saltus.specs.pocket import PeriodicCorpusSpec, PocketModelSpec, PocketSpec

_SIZES = (
    PocketModelSpec(name="w16", layers=2, d_model=16, heads=2),
    PocketModelSpec(name="w32", layers=2, d_model=32, heads=4),
    PocketModelSpec(name="w64", layers=2, d_model=64, heads=4),
)

DEMO_POCKET = PocketSpec(
    name="demo",
    models=_SIZES,
    seeds=4,
    corpus=PeriodicCorpusSpec(),
    batch=32,
    steps=600,
    every=25,
    learning_rate=4e-3,
)
"""A minute and a half. Repetition comes between steps 225 and 300 in the widest size, between 375 and 475 in the middle
one, and in the narrowest between 450 and 525 or not at all."""

PERIODIC = PocketSpec(
    name="periodic",
    models=_SIZES,
    seeds=10,
    corpus=PeriodicCorpusSpec(),
    batch=32,
    steps=1000,
    every=25,
    learning_rate=4e-3,
)
"""The demo's sizes with ten seeds, and long enough for those that come late: some six minutes."""


def describe_pocket(text: Path | None = None) -> PocketSpec:
    """Two sizes on 41 million tokens of a text, or of the standard library's sources: some four hours.

    Whether repetition of random tokens emerges in that time is not known: a model of width 128 and 2 layers had not
    learnt it after 27 million tokens of the standard library.
    """
    return PocketSpec(
        name="stdlib" if text is None else "text",
        models=(
            PocketModelSpec(name="w64", layers=2, d_model=64, heads=4),
            PocketModelSpec(name="w128", layers=4, d_model=128, heads=8),
        ),
        seeds=3,
        corpus=describe_text(text, vocabulary=1024),
        length=128,
        batch=16,
        steps=20_000,
        every=500,
        learning_rate=2e-3,
        warmup=200,
    )


def choose_pocket(
    corpus: str, text: Path | None = None, *, seeds: int | None = None, steps: int | None = None
) -> PocketSpec:
    """The suite on the corpus 'periodic' or 'stdlib', or on the text at a path instead; seeds and steps if given."""
    if corpus not in ("periodic", "stdlib"):
        raise SaltusError(f"corpus: {corpus!r} was given; allowed are 'periodic' and 'stdlib', or give a text")
    spec = PERIODIC if text is None and corpus == "periodic" else describe_pocket(text)
    values = spec.model_dump()
    values |= {name: value for name, value in (("seeds", seeds), ("steps", steps)) if value is not None}
    return PocketSpec(**values)
