"""The gate lets an honest comparison through and names each way in which one is not."""

from typing import Any

import numpy as np
import pytest
from tests.studies.arms import invent, make_arm, make_result, make_spec, make_sweeps

from saltus.studies.cells import Cell
from saltus.studies.gate import Arm, Check, check_comparison, choose_steady
from saltus.studies.results import Result

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def make_noise(*losses: float) -> Result:
    """A run on pure noise with a seed for each of these losses at the end."""
    return invent(
        Cell(run=make_spec(len(losses))),
        [{"seed": seed, "step": 1000, "scored_loss": loss} for seed, loss in enumerate(losses)],
    )


def failing(*arms: Arm) -> list[Check]:
    return [check for check in check_comparison(arms) if not check.passed]


def test_an_honest_comparison_passes() -> None:
    assert failing(make_arm("one"), make_arm("other", parameters={"easy": 1050, "hard": 900})) == []


@pytest.mark.parametrize(
    ("values", "name", "why"),
    [
        ({"noise": make_result([None], loss=float(np.log(2)) - 0.05)}, "targets of pure noise", "other +0.0500"),
        ({"noise": None}, "targets of pure noise", "not run, or without a finite loss: other"),
        ({"noise": make_noise(float(np.log(2)) - 0.05, np.nan)}, "targets of pure noise", "other +0.0500"),
        ({"noise": make_noise(np.nan, np.inf)}, "targets of pure noise", "without a finite loss: other"),
        ({"future": np.nan}, "no token moves", "other nan"),
        ({"future": 1e-9}, "no token moves", "other 1.0e-09"),
        ({"future": None}, "no token moves", "other not measured"),
        ({"parameters": {"easy": 1000, "hard": 1080}}, "parameters are matched", "0.0% (easy), 20.0% (hard)"),
        (
            {"cells": {"easy": make_result([200, 300], sequences=16), "hard": make_result([600, None])}},
            "tokens are matched",
            "cells that differ: easy",
        ),
        ({"cells": {"easy": make_result([200, 300])}}, "tokens are matched", "cells that differ: hard"),
        ({"sweeps": make_sweeps({1e-3: 500})}, "own best learning rate", "other (easy) was swept over 1 rates"),
        (
            {"sweeps": make_sweeps({3e-4: None, 1e-3: 500, 3e-3: None}, master_seed=0)},
            "own best learning rate",
            "on the master seed that is reported",
        ),
        (
            {"sweeps": make_sweeps({1e-3: None, 3e-3: 500, 1e-2: None})},
            "own best learning rate",
            "reported at 0.001, its best is 0.003",
        ),
        (
            {"sweeps": make_sweeps({1e-3: 500, 3e-3: None, 1e-2: None})},
            "own best learning rate",
            "at the edge of its sweep",
        ),
        (
            {"cells": {"easy": make_result([300, 300]), "hard": make_result([300, 300])}},
            "emergence varies with difficulty",
            "no difference in other",
        ),
        (
            {"cells": {"easy": make_result([300, 300, None]), "hard": make_result([300, 300, None])}},
            "emergence varies with difficulty",
            "no difference in other",
        ),
    ],
)
def test_each_fault_is_named(values: dict[str, Any], name: str, why: str) -> None:
    (check,) = failing(make_arm("one"), make_arm("other", **values))
    assert name in check.name
    assert why in check.why


def test_a_rate_is_judged_cell_by_cell() -> None:
    sweeps = make_sweeps({3e-4: None, 1e-3: 500, 3e-3: None}) | {
        "hard": make_sweeps({1e-3: None, 3e-3: 500, 1e-2: None})["hard"]
    }
    (check,) = failing(make_arm("one"), make_arm("other", sweeps=sweeps))
    assert check.why == "other (hard) is reported at 0.001, its best is 0.003"
    assert [check.concerns(cell) for cell in ("hard", "easy")] == [True, False]


def test_a_cell_that_nobody_solves_says_nothing() -> None:
    cells = {"easy": make_result([200]), "hard": make_result([600]), "hardest": make_result([None])}
    sweeps = make_sweeps({3e-4: None, 1e-3: 500, 3e-3: None})
    sweeps |= {"hardest": sweeps["hard"]}
    arms = [make_arm(name, cells=cells, sweeps=sweeps) for name in ("one", "other")]
    (check,) = failing(*arms)
    assert check.name.startswith("in each cell at least one arm")
    assert "hardest" in check.why
    assert [check.concerns(cell) for cell in ("hardest", "easy", None)] == [True, False, True]
    (whole,) = failing(make_arm("one"), make_arm("other", future=1e-9))
    assert [whole.concerns(cell) for cell in ("hard", "easy", None)] == [True, True, True]
    assert not any(check.concerns(None) for check in check_comparison([make_arm("one"), make_arm("other")]))


@pytest.mark.parametrize("cells", [{"easy": [200]}, {"easy": [200], "hard": [None]}, {"easy": [None], "hard": [None]}])
def test_difficulty_that_no_arm_can_tell_does_not_pass(cells: dict[str, list[int | None]]) -> None:
    found = {cell: make_result(at) for cell, at in cells.items()}
    check = check_comparison([make_arm(name, cells=found) for name in ("one", "other")])[-1]
    assert check.name == "emergence varies with difficulty"
    assert check.why.startswith("not told, as no arm has a median step in two cells; ")
    assert check.concerns("easy")


def test_of_rates_that_learn_as_much_the_sooner_one_is_best_and_then_the_one_with_less_loss() -> None:
    def choose(*tried: tuple[list[int | None], float]) -> float:
        sweep = {(float(i), 1.0): make_result(at, rate=1e-3 * i, loss=loss) for i, (at, loss) in enumerate(tried, 1)}
        return choose_steady(sweep)[0]

    assert choose(([300, 500], 0.2), ([500, None], 0.1)) == 1
    assert choose(([500], 0.1), ([300], 0.2)) == 2
    assert choose(([0], 0.2), ([500], 0.1)) == 1
    assert choose(([500], 0.2), ([500], 0.1)) == 2
    assert choose(([None], 0.1), ([None], 0.2)) == 1


def test_of_rates_that_learn_as_much_one_between_others_that_do_is_best() -> None:
    def choose(*at: int | None) -> float:
        tried = zip(RATES, at, strict=False)
        return choose_steady({(rate, 1.0): make_result([step], rate=rate) for rate, step in tried})[0]

    assert choose(500, 300, 200, 100, None) == 3e-3  # 1e-2 is sooner, and next to one that learns nothing
    assert choose(500, 300, 200, 100) == 3e-3  # beyond the edge nothing is known
    assert choose(None, 300, 200, None) == 3e-3
    assert choose(None, 300, None, 100) == 1e-3
    assert choose(None, None, None, 100) == 1e-2  # what learned more is better, wherever it is


def test_neighbours_are_those_of_the_same_initialisation() -> None:
    """At an initialisation of 2 a rate of 1e-3 stands alone, at 1 between two that learn as much."""
    sweep = {
        (rate, scale): make_result([step], rate=rate)
        for scale, steps in ((1.0, (500, 300, 400)), (2.0, (None, 100, None)))
        for rate, step in zip(RATES, steps, strict=False)
    }
    assert choose_steady(sweep) == (1e-3, 1.0)
    assert choose_steady(sweep | {(1e-3, 1.0): make_result([None], rate=1e-3)}) == (1e-3, 2.0)


def test_a_sweep_in_which_nothing_is_learned_chooses_no_rate() -> None:
    """0 of 5 rows at all three rates is no signal, whatever the losses are."""
    sweeps = make_sweeps({3e-4: None, 1e-3: None, 3e-3: None})
    (check,) = failing(make_arm("one"), make_arm("other", sweeps=sweeps))
    assert check.name == "each arm has its own best learning rate"
    assert "other (easy) learned nothing at any rate" in check.why
    assert "other (hard) learned nothing at any rate" in check.why
    assert "one" not in check.why


def test_the_median_step_of_the_gate_counts_seeds_that_never_solve() -> None:
    """Kaplan and Meier's, as everywhere: of 200, 300 and two that never solve half are there by 300, not by 250."""
    cells = {"easy": make_result([200, 300, None, None]), "hard": make_result([600, None, None, None])}
    checks = {check.name: check for check in check_comparison([make_arm("one", cells=cells)])}
    assert "one easy: 300" in checks["emergence varies with difficulty"].why
    assert "hard" not in checks["emergence varies with difficulty"].why
