"""Rises of many curves: medians, counts, and jumps that only a threshold metric makes."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from saltus import Curve, Curves, Key, Rule
from saltus.measure.rises import summarise_rises
from saltus.report.curves.section import describe_curves
from saltus.report.curves.words import tell_rises
from saltus.report.html.blocks import Text

STEPS = np.arange(0, 4001, 25)


def rise(slope: float, time: float = 1000.0) -> NDArray[np.float64]:
    return expit(slope * (np.log(np.maximum(STEPS, 1e-9)) - np.log(time)))


def gather(name: str, *values: NDArray[np.float64]) -> Curves:
    found = tuple(Curve(Key("a", str(seed), "row 0"), STEPS, each) for seed, each in enumerate(values))
    return Curves(found, name, Rule(above=0.5))


JUMP = (STEPS >= 1000).astype(float)
MADE = np.mean([rise(2.0) > level for level in (0.49, 0.5, 0.51)], axis=0)  # of a probability that rises gently


def test_jumps_are_told_from_those_that_the_threshold_makes() -> None:
    sharp = gather("accuracy", JUMP, MADE, rise(2.0), np.zeros(len(STEPS)))
    smooth = gather("probability", JUMP, rise(2.0), rise(2.0), np.zeros(len(STEPS)))
    found = summarise_rises(sharp, sharp.emergences(), smooth)
    assert found is not None
    assert (found.curves, found.jumps, found.unclear, found.both, found.alone) == (3, 2, 0, 1, 1)
    (text,) = tell_rises(found, "row")
    assert "of 3 rows that emerged, 2 jumped" in text
    assert text.endswith("On the probability 1 of these 2 jump as well, 1 do not.")


def test_the_medians_are_those_of_the_curves() -> None:
    slope = 10.5  # a width of .42, as in a public replication
    curves = gather("progress", rise(slope), rise(slope, 1500.0), rise(slope, 700.0))
    found = summarise_rises(curves, curves.emergences())
    assert found is not None
    assert found.width == pytest.approx(0.42, abs=0.01)
    assert found.steepest == pytest.approx(2 * expit(slope * np.log(1.1) / 2) - 1, abs=0.02)
    assert (found.smooth, found.both, found.alone) == ("", 0, 0)
    assert "On the" not in tell_rises(found)[0]


def test_a_coarse_grid_leaves_it_open_and_missing_values_are_left_out() -> None:
    values = np.where(STEPS % 500 == 0, JUMP, np.nan)
    curves = gather("accuracy", values)
    found = summarise_rises(curves, curves.emergences(), gather("probability", np.full(len(STEPS), np.nan)))
    assert found is not None
    assert (found.curves, found.jumps, found.unclear, found.smooth) == (1, 0, 1, "")
    assert "1 may have, between two evaluations" in tell_rises(found)[0]


def test_the_report_of_curves_says_it() -> None:
    curves = gather("accuracy", JUMP, MADE)
    texts = [block.text for section in describe_curves([curves]) for block in section.blocks if isinstance(block, Text)]
    assert tell_rises(summarise_rises(curves, curves.emergences()))[0] in texts


def test_nothing_that_emerged_is_no_sentence() -> None:
    curves = gather("accuracy", np.zeros(len(STEPS)))
    assert summarise_rises(curves, curves.emergences()) is None
    assert tell_rises(None) == []


def test_what_was_there_from_the_start_did_not_rise() -> None:
    falling = np.linspace(1.0, 0.0, len(STEPS))
    curves = gather("accuracy", falling, JUMP)
    assert [emergence.after < 0 for emergence in curves.emergences()] == [True, False]
    found = summarise_rises(curves, curves.emergences())
    assert found is not None
    assert (found.curves, found.jumps) == (1, 1)
