"""Steps against size: recovery of a slope that is known, and names and samples that set none."""

import numpy as np
import pytest

from saltus.curves import Emergence, Key
from saltus.errors import SaltusError
from saltus.measure.sizes import fit_sizes, read_size

SIZES = {"70m": 7e7, "160m": 1.6e8, "410m": 4.1e8, "1.4b": 1.4e9}


def draw(slope: float, seeds: int, seed: int = 0, budget: int = 143_000) -> list[Emergence]:
    """Log-normal steps around a line, 30,000 at 70m, in intervals of 1,000 steps until the budget."""
    generator = np.random.default_rng(seed)
    found: list[Emergence] = []
    for name, size in SIZES.items():
        for number in range(seeds):
            step = 30_000 * (size / 7e7) ** slope * np.exp(0.4 * generator.normal())
            after = int(min(step // 1000 * 1000, budget))
            by = after + 1000 if step < budget else None
            found.append(Emergence(after, by, key=Key(f"pythia-v1.1-{name}-deduped", str(number), "task")))
    return found


def test_a_known_slope_is_found_through_censoring() -> None:
    fitted = fit_sizes(draw(0.6, 40))
    assert fitted.fit.events < fitted.fit.units
    assert fitted.slope.lower < 0.6 < fitted.slope.upper
    assert fitted.slope.upper - fitted.slope.lower < 0.25
    assert list(fitted.medians) == sorted(SIZES.values())
    first = fitted.medians[7e7]
    assert first.lower < 30_000 < first.upper
    assert f"160 runs of 4 sizes, {fitted.fit.events} of which emerged" in fitted.sentence


def test_the_interval_of_the_slope_covers_as_often_as_it_says() -> None:
    covers = [fitted.lower <= -0.5 <= fitted.upper for fitted in (fit_sizes(draw(-0.5, 3, s)).slope for s in range(40))]
    assert sum(covers) >= 33  # fewer come once in 2,000 times at 95%


def test_runs_that_were_only_begun_take_no_part() -> None:
    found = draw(0.6, 4)
    begun = [Emergence(after, None, key=Key(name, "begun", "task")) for name, after in (("70m", 0), ("3b", -1))]
    fitted, less = fit_sizes([*found, *begun]), fit_sizes(found)
    assert (fitted.sentence, fitted.medians, fitted.slope) == (less.sentence, less.medians, less.slope)
    assert (fitted.unwatched, less.unwatched) == (2, 0)
    with pytest.raises(SaltusError, match=r"there are \[70000000.0\] among runs that were watched"):
        fit_sizes([*found[:4], begun[1]])


@pytest.mark.parametrize(
    ("name", "size"), [("pythia-160m", 1.6e8), ("pythia-v1.1-1.4b-deduped", 1.4e9), ("70M", 7e7), ("wide 12k", 1.2e4)]
)
def test_the_size_is_in_the_name(name: str, size: float) -> None:
    assert read_size(name) == pytest.approx(size)


@pytest.mark.parametrize("name", ["wide", "pythia-7", "distilled-1b-into-70m", "12mix"])
def test_a_name_that_says_no_size_or_two_is_refused(name: str) -> None:
    with pytest.raises(SaltusError, match=r"says [02] sizes"):
        read_size(name)


def test_what_sets_no_slope_is_one_sentence() -> None:
    found = draw(0.5, 2)
    with pytest.raises(SaltusError, match="a slope needs two sizes"):
        fit_sizes(found[:2])
    with pytest.raises(SaltusError, match="a seed of a group is there twice"):
        fit_sizes([*found, found[0]])
    with pytest.raises(SaltusError):
        fit_sizes([Emergence(143_000, None, key=e.key) for e in found])
