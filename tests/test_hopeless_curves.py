"""Curves that can tell little or nothing: compare, plan, show and report answer in a sentence, without a warning."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from saltus import Curve, Curves, Key, Rule, api
from saltus.errors import SaltusError
from saltus.report.curves.section import describe_curves
from saltus.report.html.page import write_report
from saltus.report.terminal.curves import summarise_curves

GRID = np.arange(0, 401, 100)
NAN = float("nan")
ONE_LINE = "one line runs through the intervals of all units"

Case = tuple[list[list[float]], int, str]


def draw(values: list[list[float]], evaluations: int) -> Curves:
    """The same seeds in two groups."""
    return Curves(
        tuple(
            Curve(Key(group, str(seed), "x"), GRID[:evaluations], np.array(own, dtype=np.float64))
            for group in ("a", "b")
            for seed, own in enumerate(values)
        ),
        "accuracy",
        Rule(above=0.5),
    )


CASES: dict[str, Case] = {
    "one seed": ([[0, 0, 1, 1, 1]], 5, ONE_LINE),
    "all censored": ([[0] * 5] * 3, 5, "none of the pilot's 3 seeds emerged"),
    "ties": ([[0, 0, 1, 1, 1]] * 5, 5, ONE_LINE),
    "one checkpoint": ([[1], [0]], 1, "1 units were there at step 0"),
    "nothing but NaN": ([[NAN] * 5] * 3, 5, "none of the pilot's 3 seeds emerged"),
    "some NaN": ([[0, NAN, 1, 1, 1], [NAN] * 5, [0, 0, 0, 1, 1]], 5, ONE_LINE),
    "there from the start": ([[1] * 5] * 4, 5, "4 units were there at step 0"),
}


@pytest.mark.parametrize(("values", "evaluations", "reason"), CASES.values(), ids=CASES)
def test_curves_that_tell_nothing(values: list[list[float]], evaluations: int, reason: str, tmp_path: Path) -> None:
    curves, console = draw(values, evaluations), Console(file=io.StringIO())
    n = len(values) - sum(own in ([0], [NAN] * 5) for own in values)  # nothing is known of these
    if n:
        (pair,) = api.compare(curves, console=console).pairs
        assert pair.sentence.startswith(f"With {n} against {n} seeds no difference could be shown at all")
    else:
        with pytest.raises(SaltusError, match="a comparison needs units that were watched for long enough"):
            api.compare(curves, console=console)
    pilot = curves.select(group="a")
    with pytest.raises(SaltusError, match=reason):
        api.plan(pilot, ratio=2.0)
    with pytest.raises(SaltusError, match=reason):
        api.plan(pilot, width=0.3)
    with pytest.raises(SaltusError, match=reason):
        api.plan(pilot, factor=1.5)
    with pytest.raises(SaltusError, match=reason):
        api.plan(pilot, see=True)
    console.print(summarise_curves(curves))
    page = tmp_path / "page.html"
    write_report(describe_curves([curves]), page)
    text = page.read_text()
    assert "seeds cannot bound a median" in text or "One seed cannot tell" in text
