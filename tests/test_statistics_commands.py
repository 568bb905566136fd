"""`compare` and `plan` on run folders, on a scan's curves, on anybody's curves, and on what cannot be asked."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from saltus import Curve, Curves, Key, Rule, api
from saltus.errors import SaltusError
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]


def draw_curves(medians: dict[str, float], seeds: int = 8, units: tuple[str, ...] = ("lambada",)) -> Curves:
    """A step function for each seed, its step log-normal around the group's median; evaluated every 20 steps."""
    generator = np.random.default_rng(1)
    steps = np.arange(0, 4001, 20)
    found = [
        Curve(Key(group, str(seed), unit), steps, (steps >= median * np.exp(0.3 * generator.normal())).astype(float))
        for group, median in medians.items()
        for seed in range(seeds)
        for unit in units
    ]
    return Curves(tuple(found), "accuracy", Rule(above=0.5))


def test_groups_of_anybody_s_curves_are_compared() -> None:
    compared = api.compare(draw_curves({"70m": 1500.0, "160m": 500.0}))
    assert [(arm.name, arm.seeds) for arm in compared.arms] == [("70m", 8), ("160m", 8)]
    (pair,) = compared.pairs
    assert pair.adjusted < 0.01
    assert pair.contrast.median_ratio.lower < 1 / 3 < pair.contrast.median_ratio.upper < 1.0
    found = draw_curves({"70m": 1500.0, "160m": 500.0}).emergences()
    again = api.compare(found.group("70m"), found.group("160m"))
    assert again.pairs[0].adjusted == pair.adjusted


def test_groups_that_several_sources_have_are_one_arm() -> None:
    curves = draw_curves({"70m": 1500.0, "160m": 500.0})
    some, more = (
        replace(curves, curves=tuple(curve for curve in curves if (curve.key.seed in "0123") == early))
        for early in (True, False)
    )
    compared = api.compare(some, more, by="group")
    assert [(arm.name, arm.seeds) for arm in compared.arms] == [("70m", 8), ("160m", 8)]
    assert [arm.seeds for arm in api.compare(some, more).arms] == [8, 8]  # 4 of each group in each source
    assert compared.pairs[0].adjusted == api.compare(curves, by="group").pairs[0].adjusted
    with pytest.raises(SaltusError, match="group 70m has the seed 0 in two of the folders"):
        api.compare(curves, some, by="group")
    with pytest.raises(SaltusError, match="a comparison needs two arms"):
        api.compare(curves, by="folder")
    with pytest.raises(SaltusError, match="by: 'groups' was given; allowed are folder and group"):
        api.compare(curves, some, by="groups")  # type: ignore[arg-type]


def test_curves_of_another_rule_or_measure_are_not_set_against_each_other() -> None:
    curves = draw_curves({"70m": 1500.0, "160m": 500.0})
    small, large = (curves.select(group=group) for group in curves.groups)
    strict = replace(large, rule=Rule(above=0.9, hold=2))
    told = "70m is read by accuracy of at least 0.5, and 160m by accuracy of at least 0.9 at 2 evaluations in a row"
    for ask in (api.compare, api.fit):
        with pytest.raises(SaltusError, match=f"{ask.__name__}: {told}; give one threshold and one hold"):
            ask(small, strict)
        with pytest.raises(SaltusError, match=r"and 160m by .* at 2 evaluations in a row; give one threshold"):
            ask(small, strict, threshold=0.7)
        ask(small, strict, threshold=0.7, hold=1)
        with pytest.raises(SaltusError, match=r"70m has accuracy and 160m has loss, .* give sources of one measure"):
            ask(small.emergences(), replace(large, measure="loss"), threshold=None)
    with pytest.raises(SaltusError, match=r"read by accuracy of at least 0\.5, and 160m"):
        api.compare(small.emergences(), strict.emergences())


@pytest.mark.parametrize("asked", [{"threshold": 0.9}, {"hold": 2}, {"threshold": 0.9, "hold": 2}])
def test_what_is_read_already_is_not_read_by_another_rule(asked: dict[str, Any]) -> None:
    found = draw_curves({"70m": 1500.0, "160m": 500.0}).emergences()
    told = f"{' and '.join(asked)} was given with emergences, which are read already; give their curves"
    for ask in (api.compare, api.fit, api.split):
        with pytest.raises(SaltusError, match=told):
            ask(found, **asked)


def test_runs_are_compared_on_the_command_line(saltus: Saltus, finished: RunFolder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(finished.path, tmp_path / name)
    code, out, error = saltus("compare", "one", "two", "--out", tmp_path)
    assert (code, error) == (0, "")
    assert "With 2 against 2 seeds no difference could be shown at all" in " ".join(out.split())
    code, out, _ = saltus("compare", "one", "two", "--unit", "row 1", "--threshold", "0.01", "--out", tmp_path)
    assert code == 0
    code, _, error = saltus("compare", "one", "two", "--by", "group", "--out", tmp_path)
    assert (code, "group tiny has the seed 0 in two of the folders" in error) == (2, True)
    code, _, error = saltus("compare", "one", "--out", tmp_path)
    assert (code, "a comparison needs two arms" in error) == (2, True)
    code, _, error = saltus("compare", "one", "two", "--unit", "row 9", "--out", tmp_path)
    assert (code, "there is no unit 'row 9'; there are row 0, row 1" in error) == (2, True)


def test_a_unit_has_to_be_named_where_there_are_several() -> None:
    with pytest.raises(SaltusError, match="unit: none was given, and there are 2: lambada, piqa; name one"):
        api.compare(draw_curves({"a": 500.0, "b": 900.0}, units=("lambada", "piqa")))
    assert api.compare(draw_curves({"a": 500.0, "b": 900.0}, units=("lambada", "piqa")), unit="piqa").pairs


def test_a_plan_from_a_pilot_says_what_the_pilot_could_have_told(saltus: Saltus) -> None:
    plan = api.plan(draw_curves({"pilot": 1000.0}, seeds=5), ratio=2.0, budgets=(3000.0,))
    assert plan.answer is not None
    assert plan.pilot is not None
    assert plan.pilot.seeds == 5
    assert plan.pilot.success < plan.answer.success
    assert plan.answer.seeds > 4  # of 3 seeds an arm no permutation is rarer than 1 in 20, of 4 hardly one


def test_twenty_nine_seeds_show_a_capability_of_one_in_ten(saltus: Saltus) -> None:
    """The closed form: .9^29 < .05; the budget is long enough for all that ever solve."""
    code, out, error = saltus("plan", "--see", "--median", "100", "--share", "0.1", "--budget", "100000")
    assert (code, error) == (0, "")
    assert "To see it at least once with 95% certainty: 29 seeds, 100,000 steps." in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--median", "100"), "no question was given; ask one of ratio, width, factor, see"),
        (("--see", "--ratio", "2", "--median", "100"), "ratio, see was given; ask one"),
        (("--see",), "give a pilot or a guess"),
        (("--ratio", "1", "--median", "100"), "ratio is 1.0; allowed is a number from 1e-06 to 1e+06 other than 1"),
        (("--ratio", "1e308", "--median", "100"), "ratio is 1e+308; allowed is a number from 1e-06 to 1e+06"),
        (("--ratio", "2", "--median", "1000", "--spread", "1000"), "spread 1000.0, share 1.0; allowed are numbers"),
        (("--see", "--median", "1e300"), "median is 1e+300"),
        (("--factor", "1e200", "--median", "100"), "factor is 1e+200; allowed is a number above 1 and up to 1e+06"),
        (("--see", "--median", "100", "--every", "1e-320"), "every is 1e-320; allowed are 1e-09 to 1e+15 steps, and 0"),
        (("--see", "--median", "100", "--every", "1e308"), "every is 1e+308"),
        (("--see", "--median", "100", "--budget", "1e308"), "budgets are [1e+308]; allowed are numbers of steps"),
        (("--ratio", "2", "--median", "nan"), "median is nan"),
        (("--ratio", "2", "--median", "100", "--share", "0"), "share 0.0"),
        (("--ratio", "2", "--median", "100", "--spread", "0"), "spread 0.0"),
        (("--ratio", "2", "--median", "100", "--power", "0"), "power is 0.0"),
        (("--see", "--median", "100", "--unit", "row 3"), "unit was given with a guess; it chooses in a pilot"),
        (("--see", "--median", "100", "--group", "x"), "group was given with a guess; it chooses in a pilot"),
        (("--see", "--spread", "3"), "spread was given without median; a pilot has its own"),
        (("--see", "--share", "0.45"), "share was given without median; a pilot has its own"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(saltus: Saltus, options: tuple[str, ...], message: str) -> None:
    code, out, error = saltus("plan", *options)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ratio": 1.0}, "ratio is 1.0"),
        ({"factor": 0.5}, "factor is 0.5"),
        ({"width": 2.0}, "width is 2.0"),
        ({"see": True, "power": 1.0}, "power is 1.0"),
        ({"see": True, "every": -1.0}, "every is -1.0"),
        ({"see": True, "budgets": (0.0,)}, r"budgets are \[0.0\]"),
    ],
)
def test_a_question_is_looked_at_before_the_pilot(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("saltus.api.statistics.fit_outlook", None)
    with pytest.raises(SaltusError, match=f"plan: {message}; allowed"):
        api.plan(draw_curves({"pilot": 1000.0}, seeds=5), **asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("show", "--unit", "logit-difference"), "is a run; unit is of the effects of patches alone"),
        (("show", "--unit", "probability"), "is a run; unit is of the effects of patches alone"),
        (("show", "--csv", "tables"), "is a run; CSV is written of scans, patches and audits"),
        (("plan", "--see", "--spread", "3"), "spread was given without median"),
        (("plan", "--see", "--share", "1"), "share was given without median"),
    ],
)
def test_what_cannot_apply_is_refused_before_anything_is_printed(
    saltus: Saltus, finished: RunFolder, options: tuple[str, ...], message: str
) -> None:
    command, *others = options
    code, out, error = saltus(command, finished.path, *others)
    assert (code, out) == (2, "")
    assert message in " ".join(error.split())


def test_what_is_at_the_limit_of_what_can_be_planned_is(saltus: Saltus) -> None:
    for question in (("--ratio", "1e6"), ("--factor", "1e6"), ("--width", "0.5"), ("--see",)):
        code, _, error = saltus("plan", *question, "--median", "1e15", "--spread", "5", "--every", "1e-9")
        assert (code, error) == (0, "")


def test_watching_at_all_times_takes_no_more_seeds_than_a_coarse_grid() -> None:
    always, coarse = (
        api.plan(ratio=2.0, guess=(100.0, 0.45, 1.0), every=every, budgets=(1000.0,)).answer for every in (0.0, 100.0)
    )
    assert always is not None
    assert coarse is not None
    assert always.seeds < coarse.seeds


def test_seeds_of_several_groups_are_no_pilot() -> None:
    """Sizes that differ by a factor of ten are no spread of seeds."""
    curves = draw_curves({"70m": 3000.0, "160m": 1000.0, "410m": 300.0})
    with pytest.raises(SaltusError, match=r"^group: none was given, and the pilot has 3: 70m, 160m, 410m; name one"):
        api.plan(curves, ratio=2.0)
    alone = api.plan(draw_curves({"160m": 1000.0}), ratio=2.0, budgets=(3000.0,)).answer
    one = api.plan(curves, group="410m", ratio=2.0, budgets=(3000.0,)).answer
    assert alone is not None
    assert one is not None
    assert one.seeds <= 2 * alone.seeds


def test_a_seed_that_was_only_begun_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """With a hold of two a single evaluation, and two at steps 0 and 20, say nothing of when it comes."""
    curves = draw_curves({"70m": 1500.0, "160m": 500.0})
    begun = tuple(
        Curve(Key(group, name, "lambada"), np.arange(count) * 20, np.zeros(count))
        for group in ("70m", "160m")
        for name, count in (("once", 1), ("twice", 2))
    )
    held = replace(curves, rule=Rule(above=0.5, hold=2))
    more = replace(held, curves=(*curves, *begun))
    console = Console(width=200)
    one, other = (api.compare(each, console=console) for each in (held, more))
    assert (other.arms, other.horizon, other.unwatched) == (one.arms, one.horizon, 4)
    assert "4 units were not watched for long enough to say anything, and take no part." in capsys.readouterr().out
    pilots = [api.plan(each, group="160m", see=True, console=console).answer for each in (held, more)]
    assert pilots[0] == pilots[1]
    assert "2 units were not watched for long enough" in capsys.readouterr().out
    slopes = [api.fit(each, console=console).slope for each in (held, more)]
    assert slopes[0] == slopes[1]
    assert "4 units were not watched for long enough" in capsys.readouterr().out
    with pytest.raises(SaltusError, match=r"^a comparison needs units that were watched .* 70m has none"):
        api.compare(replace(held, curves=(*begun[:2], *(c for c in curves if c.key.group == "160m"))))


def test_a_pilot_in_which_nothing_emerged_asks_for_a_guess() -> None:
    steps = np.arange(3)
    flat = tuple(Curve(Key("a", str(seed), "x"), steps, np.zeros(3)) for seed in range(3))
    with pytest.raises(SaltusError, match="none of the pilot's 3 seeds emerged"):
        api.plan(Curves(flat, "accuracy", Rule(above=0.5)), ratio=2.0)


def test_steps_are_fitted_against_sizes_on_the_command_line(saltus: Saltus, finished: RunFolder) -> None:
    medians = {"70m": 2000.0, "160m": 1300.0, "410m": 800.0, "1.4b": 450.0}
    fitted = api.fit(draw_curves(medians))
    assert fitted.slope.lower < -0.5 < fitted.slope.upper < 0.0
    assert api.fit(draw_curves(medians), threshold=1.0).slope == fitted.slope  # the curves go from 0 to 1
    code, out, error = saltus("fit", finished.path)
    assert (code, out) == (2, "")
    assert "fit: the name 'tiny' says 0 sizes" in error
