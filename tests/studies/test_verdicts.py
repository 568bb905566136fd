"""How a study's verdicts treat what is censored, and what cannot tell."""

import runpy
from math import inf, log
from pathlib import Path
from typing import Any

import pytest

from saltus.paper.distance import Term, average
from saltus.studies.results import Results
from saltus.studies.study import load_study

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def plateau() -> dict[str, Any]:
    return runpy.run_path(str(STUDIES / "automaton_plateau.py"))


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ([40, 300, 500], "reproduced"),
        ([40, 300, inf], "reproduced"),  # past its budget, and so later
        ([40, inf, inf], "in part"),  # of the last two nothing is known
        ([inf, inf], "not measured"),
        ([300, 40, 500], "in part"),
        ([500, 300], "not reproduced"),
    ],
)
def test_a_plateau_grows_only_where_two_ends_tell(plateau: dict[str, Any], ends: list[float], verdict: str) -> None:
    assert plateau["_judge_longer"](ends) == verdict


@pytest.mark.parametrize(
    ("without", "with_bias", "budget", "verdict"),
    [
        (inf, 200.0, 300, "reproduced"),
        (400.0, inf, 500, "not reproduced"),
        (400.0, inf, 300, "not measured"),  # cut off before the other's end
        (inf, inf, 300, "not measured"),
    ],
)
def test_a_bias_shortens_only_what_was_watched_for_long_enough(
    plateau: dict[str, Any], without: float, with_bias: float, budget: int, verdict: str
) -> None:
    assert plateau["_judge_shorter"]([(without, with_bias, budget)]) == verdict


def test_a_bias_that_was_not_watched_for_long_enough_once_shortens_in_part(plateau: dict[str, Any]) -> None:
    assert plateau["_judge_shorter"]([(inf, 200.0, 300), (inf, inf, 300)]) == "in part"


@pytest.mark.parametrize(
    ("short", "long", "whole", "verdict"),
    [
        (300.0, 400.0, True, "reproduced"),
        (300.0, inf, False, "in part"),  # at laptop size
        (400.0, 300.0, True, "not reproduced"),
        (inf, 300.0, True, "not reproduced"),
        (inf, inf, True, "not measured"),
    ],
)
def test_trajectories_are_compared_only_where_a_plateau_ended(
    short: float, long: float, whole: bool, verdict: str
) -> None:
    judge = runpy.run_path(str(STUDIES / "trajectory_length.py"))["_judge_longer"]
    assert judge(short, long, whole=whole) == verdict


def test_jumps_on_another_map_do_not_move_a_setting_against_those_that_have_the_first_alone() -> None:
    study = STUDIES / "calibration.py"
    calibration = runpy.run_path(str(study))
    every = dict(Results(load_study(study), STUDIES.parent / "docs" / "results" / "records"))
    first = {name: records for name, records in every.items() if "-map-" not in name}
    results = first | {name: records for name, records in every.items() if name.startswith("jumps-near-map-")}
    assert len(first) < len(results)
    search = calibration["SEARCHES"][0]
    assert calibration["list_stages"](results, search) == calibration["list_stages"](first, search)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("jumps-near-lr-3e-4", "jumps"),
        ("jumps-near-warmup-1000-map-2", "jumps-map-2"),
        ("curve-near-lr-3e-4-s13", "curve"),
        ("biased-near-bias-2-16", "biased-16"),
        ("plateau-near-lr-1e-3-8", "plateau-8"),
    ],
)
def test_numbers_in_the_name_of_a_setting_are_not_those_of_its_cell(name: str, kind: str) -> None:
    assert runpy.run_path(str(STUDIES / "calibration.py"))["find_kind"](name) == kind


def test_a_target_weighs_the_same_with_one_seed_and_with_three() -> None:
    once = [
        Term("biased-8", "8", distance=0.1, censored=False),
        Term("plateau-8", "8", distance=0.5, censored=True),
    ]
    assert average(once) == pytest.approx(0.3)
    assert average([*once, once[1], once[1]]) == pytest.approx(0.3)


def test_the_wait_of_an_automaton_is_as_far_off_however_long_it_was_watched() -> None:
    study = STUDIES / "calibration.py"
    calibration = runpy.run_path(str(study))
    kept = Results(load_study(study), STUDIES.parent / "docs" / "results" / "records")
    search, name = calibration["SEARCHES"][1], "plateau-start-8"  # over only after 1.5 times the authors' 377 steps
    (term,) = calibration["list_terms"]({name: kept[name]}, search, "start")
    assert term.censored
    assert term.distance == pytest.approx(log(1.5))
