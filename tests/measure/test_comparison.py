"""Arms side by side: what three seeds cannot tell, what sixteen can, and rows of one run that are no seeds."""

import numpy as np
import pytest
from tests.known_answers.cosmesis import RAD, RAD_CHEM, parse

from saltus.curves import Emergence, Key
from saltus.errors import SaltusError
from saltus.measure.comparison import ArmComparison, compare_emergences

# Steps of a public replication, one cell and sixteen seeds, and sixteen others of the same cell.
FIRST = [469, 563, 566, 712, 772, 783, 856, 876, 894, 927, 983, 1086, 1107, 1196, 2187, 2521]
SECOND = [500, 505, 590, 717, 800, 814, 822, 875, 971, 1013, 1080, 1135, 1169, 1240, 1297, 1984]


def arm(name: str, steps: list[int], budget: int = 10_000, unit: str = "task") -> list[Emergence]:
    """A seed for each step, evaluated at every step."""
    return [
        Emergence(step - 1, step, key=Key(name, str(seed), unit))
        if step <= budget
        else Emergence(budget, None, key=Key(name, str(seed), unit))
        for seed, step in enumerate(steps)
    ]


def compare(arms: dict[str, list[Emergence]], *, paired: bool = False) -> ArmComparison:
    return compare_emergences(arms, np.random.default_rng(0), paired=paired, draws=200)


def test_two_draws_of_three_from_the_same_seeds_can_show_nothing() -> None:
    """They differ by a factor of three, and no permutation of six seeds is rarer than one in ten."""
    compared = compare({"a": arm("a", FIRST[:3]), "b": arm("b", FIRST[-3:])})
    (pair,) = compared.pairs
    assert pair.test.p_value == pytest.approx(0.1)
    assert pair.sentence.startswith("With 3 against 3 seeds no difference could be shown at all")
    assert pair.contrast.median_ratio.value == pytest.approx(2187 / 563, rel=0.01)


def test_sixteen_seeds_of_one_cell_agree_and_a_factor_of_two_is_seen() -> None:
    halved = [step // 2 for step in SECOND]
    compared = compare({"a": arm("a", FIRST), "b": arm("b", SECOND), "half": arm("half", halved)})
    same, faster, other = compared.pairs
    assert same.adjusted > 0.5
    assert "a difference is not shown, which does not mean there is none" in same.sentence
    assert faster.adjusted < 0.01 > other.adjusted
    ratio = faster.contrast.median_ratio
    assert ratio.lower < 0.5 < ratio.upper < 1.0
    assert all(pair.adjusted >= pair.test.p_value for pair in compared.pairs)  # Holm
    medians = {outcome.name: outcome.median for outcome in compared.arms}
    middle = medians["a"]
    assert middle.value is not None
    assert middle.lower <= 876 <= middle.value <= 894 <= middle.upper  # the middle of 16


def test_what_no_seeds_could_show_over_all_pairs_is_said() -> None:
    """Four against four can give 2/70, but three times that over three pairs; eight against eight far less."""
    steps = {"a": 100, "b": 1_000, "c": 10_000}
    few = compare({name: arm(name, [step + n for n in range(4)], 20_000) for name, step in steps.items()})
    assert [pair.least for pair in few.pairs] == pytest.approx([3 * 2 / 70] * 3)
    assert all("no difference could be shown at all" in pair.sentence for pair in few.pairs)
    many = compare({name: arm(name, [step + n for n in range(8)], 20_000) for name, step in steps.items()})
    assert all("they differ (p = 0.000466, exact, Holm over 3 pairs)" in pair.sentence for pair in many.pairs)


def test_published_intervals_give_the_published_p_value() -> None:
    """Fay and Shaw (2010): Wilcoxon, p = .03022 by the normal approximation of the permutations."""
    arms = {
        name: [
            Emergence(int(left), None if np.isinf(right) else int(right), key=Key(name, str(seed), "retraction"))
            for seed, (left, right) in enumerate(zip(*sample, strict=True))
        ]
        for name, sample in (("Rad", parse(RAD)), ("RadChem", parse(RAD_CHEM)))
    }
    (pair,) = compare(arms).pairs
    assert pair.test.p_approximate == pytest.approx(0.03022, abs=1e-5)
    assert pair.adjusted == pytest.approx(0.03022, abs=0.01)


def test_rows_of_one_run_are_no_seeds() -> None:
    """Two seeds of fifty equal rows each: by rows the difference is certain, by seeds nothing can be told."""

    def rows(name: str, steps: list[int]) -> list[Emergence]:
        return [
            Emergence(step - 1, step, key=Key(name, str(seed), f"row {row}"))
            for seed, step in enumerate(steps)
            for row in range(50)
        ]

    (pair,) = compare({"a": rows("a", [100, 110]), "b": rows("b", [200, 220])}).pairs
    assert pair.test.seeds == (2, 2)
    assert pair.test.p_value == pytest.approx(1 / 3)


def test_pairs_see_what_arms_hide() -> None:
    """Each seed is a tenth sooner in B, while seeds differ by a factor of four."""
    steps = [400, 600, 800, 1000, 1200, 1400, 1600, 1800]
    arms = {"a": arm("a", steps), "b": arm("b", [step * 9 // 10 for step in steps])}
    (apart,) = compare(arms).pairs
    (paired,) = compare(arms, paired=True).pairs
    assert paired.adjusted == pytest.approx(2 / 2**8)
    assert apart.adjusted > 0.3
    with pytest.raises(SaltusError, match="paired: the seed 7 is not in both of a and b"):
        compare({"a": arms["a"], "b": arms["b"][:-1]}, paired=True)


def test_what_never_came_is_counted_and_has_no_step() -> None:
    compared = compare({"a": arm("a", FIRST, 800), "b": arm("b", SECOND, 2_000)})
    first, second = compared.arms
    assert (first.emerged, first.seeds, second.emerged) == (6, 16, 16)
    assert first.median.value == np.inf
    assert (first.solved.value, compared.horizon) == (6 / 16, 800)


@pytest.mark.parametrize("arms", [{}, {"a": arm("a", FIRST)}, {"a": arm("a", FIRST), "b": []}])
def test_fewer_than_two_arms_are_one_sentence(arms: dict[str, list[Emergence]]) -> None:
    with pytest.raises(SaltusError, match="a comparison needs two arms with at least one unit each; there are"):
        compare(arms)
