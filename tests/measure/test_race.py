"""The rule of a race: what it decides is a function of what was trained, and its error is held."""

import numpy as np
import pytest

from saltus.measure.race import Arm, Calibration, Order, RaceRules, decide, follow_race
from saltus.measure.race_simulation import draw_log_normal, simulate_races

RULES = RaceRules(budget=6000.0, first_budget=500.0, most_seeds=12)
SPACED = 1000.0 * np.exp(np.linspace(0.0, np.log(4.0), 12))


def calibrate(rules: RaceRules, arms: int = 3, draws: int = 2_000) -> Calibration:
    return Calibration(rules, arms, np.random.default_rng(0), draws)


def show(steps: list[float], until: float, name: str = "a") -> Arm:
    """An arm whose seeds solve at these steps, evaluated every 10, watched until a step."""
    found = np.array(steps)
    solved = found <= until
    return Arm(name, np.where(solved, found - 10.0, until), np.where(solved, found, np.inf))


def test_seeds_grow_by_half_up_to_the_most() -> None:
    assert RaceRules(100.0, 10.0, first_seeds=3, most_seeds=32).looks == (3, 5, 8, 12, 18, 27, 32)
    assert RaceRules(100.0, 10.0, first_seeds=3, most_seeds=3).looks == (3,)


def test_the_first_budget_is_doubled_until_some_arm_has_solved_in_half_of_its_seeds() -> None:
    asked: list[tuple[int, float]] = []
    names = ["a", "b"]
    solved = {"a": [2100.0, 2200.0, 2300.0] * 4, "b": [5000.0] * 12}

    def find(order: Order) -> tuple[np.ndarray, np.ndarray]:
        asked.append((order.seeds, order.until))
        arm = show(solved[order.arm][: order.seeds], order.until)
        return arm.left, arm.right

    history = follow_race(names, calibrate(RULES, arms=2), find)
    # 2195 is the middle of the interval of the second of three; twice it is as long as arms are watched.
    assert asked[:8:2] == [(3, 500.0), (3, 1000.0), (3, 2000.0), (3, 4000.0)]
    assert (history.leader, history.ended, [drop.arm for drop in history.drops]) == ("a", "the best is known", ["b"])
    assert all(order.until <= 4390.0 for order in history.reached)


def test_what_has_not_been_trained_is_waited_for_and_nothing_is_decided() -> None:
    calibration = calibrate(RULES)
    begun = follow_race(["a", "b", "c"], calibration, lambda _: None)
    assert (begun.rounds, begun.leader, begun.ended, begun.reached) == ((), None, None, ())
    assert begun.waiting == tuple(Order(name, 3, 500.0) for name in "abc")
    some = follow_race(["a", "b", "c"], calibration, lambda o: None if o.arm == "b" else (np.zeros(3), np.full(3, 9.0)))
    assert [order.arm for order in some.waiting] == ["b"]
    assert [order.arm for order in some.reached] == ["a", "c"]


def test_seeds_that_were_watched_for_too_short_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer steps than the orders"):
        follow_race(["a", "b"], calibrate(RULES, arms=2), lambda _: (np.full(3, 9.0), np.full(3, np.inf)))


def test_the_same_arms_give_the_same_decision_in_any_order() -> None:
    arms = [show([300.0, 400.0, 500.0], 900.0, "a"), show([2000.0] * 3, 900.0, "b"), show([450.0] * 3, 900.0, "c")]
    one = decide(arms, calibrate(RULES))
    other = decide(arms[::-1], calibrate(RULES))
    assert (one.leader, set(one.drops), set(one.orders)) == (other.leader, set(other.drops), set(other.orders))


def test_an_arm_that_is_far_behind_is_dropped_and_one_that_is_near_is_not() -> None:
    spread = np.exp([-0.3, 0.0, 0.3])
    steps = {"a": 1000.0 * spread, "b": 1020.0 * spread, "c": 4000.0 * spread}
    decision = decide([show(list(steps[name]), 3000.0, name) for name in "abc"], calibrate(RULES))
    assert [drop.arm for drop in decision.drops] == ["c"]
    assert decision.drops[0].excess > decision.drops[0].limit > 0.02
    assert decision.orders == tuple(Order(name, 5, 1990.0) for name in "ab")


def test_an_arm_that_is_there_at_step_0_leads() -> None:
    there, late = Arm("there", np.full(12, -1.0), np.zeros(12)), show([1000.0] * 12, 6000.0, "late")
    decision = decide([late, there], calibrate(RULES, arms=2))
    assert decision.leader == "there"
    assert np.isfinite(decision.means).all()


@pytest.mark.parametrize(
    "values",
    [
        {"first_budget": 0.0},
        {"first_budget": 7000.0},
        {"margin": 1.0},
        {"by": "solve share", "margin": 1.3},
        {"error": 1.0},
        {"first_seeds": 1},
        {"first_seeds": 13},
    ],
)
def test_wrong_rules_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="allowed is"):
        RaceRules(**({"budget": 6000.0, "first_budget": 500.0, "most_seeds": 12} | values))  # pyright: ignore[reportArgumentType]


def test_wrong_arms_are_refused() -> None:
    calibration = calibrate(RULES)
    arm = show([300.0] * 3, 900.0)
    for arms in ([arm, arm], []):
        with pytest.raises(ValueError, match="allowed is at least one, each with a name of its own"):
            decide(arms, calibration)
    with pytest.raises(ValueError, match="an arm has 13 seeds; allowed are up to 12"):
        decide([show([300.0] * 13, 900.0)], calibration)
    with pytest.raises(ValueError, match="arms is 1"):
        calibrate(RULES, arms=1)


def test_a_race_finds_as_good_an_arm_as_the_grid_at_a_third_of_its_steps() -> None:
    """A quick version of `benchmarks/simulate_race.py`, in which the published numbers are reached."""
    rules = RaceRules(budget=6000.0, first_budget=500.0, most_seeds=32)
    trial = simulate_races(SPACED, draw_log_normal(0.45), rules, 50.0, 20, np.random.default_rng(0))
    assert trial.race.cost < trial.grid.cost / 3
    assert trial.race.regret < trial.grid.regret + 0.02
    assert trial.race.near > 0.9
    # The grid: 2.5%, the best in 83%, within 15% in 98%, of 2,000 repeats.
    assert trial.grid.regret == pytest.approx(0.025, abs=0.02)
    assert trial.grid.best == pytest.approx(0.83, abs=0.18)


def test_the_best_arm_is_dropped_no_more_often_than_stated_where_it_is_ahead_by_the_margin() -> None:
    medians = np.full(6, 1300.0)
    medians[2] = 1000.0
    rules = RaceRules(budget=6000.0, first_budget=500.0, most_seeds=12, error=0.2)
    trial = simulate_races(medians, draw_log_normal(0.45), rules, 50.0, 40, np.random.default_rng(1))
    assert 0.0 < trial.dropped_best <= 0.33  # 0.2, and two standard errors of 40 repeats
    strict = simulate_races(
        medians,
        draw_log_normal(0.45),
        RaceRules(6000.0, 500.0, most_seeds=12, error=0.01),
        50.0,
        60,
        np.random.default_rng(1),
    )
    assert strict.dropped_best <= 0.05


def test_an_arm_whose_seeds_come_within_one_interval_leads_those_that_never_come() -> None:
    """How far the seeds of one interval are apart cannot be told, but no farther than the interval is wide."""
    rules = RaceRules(budget=2000.0, first_budget=200.0, most_seeds=12)
    seeds = rules.looks[1]
    good = Arm("good", np.full(seeds, 100.0), np.full(seeds, 200.0))
    never = [Arm(name, np.full(seeds, 400.0), np.full(seeds, np.inf)) for name in ("bad", "worse")]
    decision = decide([good, *never], calibrate(rules))
    assert {drop.arm for drop in decision.drops} == {"bad", "worse"}
    near = Arm("near", np.full(seeds, 200.0), np.full(seeds, 300.0))
    assert not decide([good, near, never[0]], calibrate(rules)).drops or decision.leader == "good"
    wide = Arm("wide", np.zeros(seeds), np.full(seeds, 200.0))  # anything up to step 200
    assert not decide([wide, *never], calibrate(rules)).drops
