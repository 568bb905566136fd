"""What becomes of values: repeated steps, gaps, numbers out of range, rules that need what is not known."""

from pathlib import Path

import numpy as np
import pytest
from tests.ingest.files import accuracy, write, write_old

import saltus
from saltus import Rule, SaltusError
from saltus.ingest.chance import CHANCES, find_chance
from saltus.ingest.gather import Origin, Value, gather
from saltus.ingest.ledger import Ledger
from saltus.specs.reading import ReadSpec

STEPS = (0, 10, 20, 30, 40)


def write_runs(root: Path, without: dict[tuple[str, int], set[int]], last: dict[str, int]) -> None:
    """Three seeds of each group at `STEPS` up to its last one, without some."""
    for group, end in last.items():
        for seed in range(3):
            rows = [f"{step},0.{step}" for step in STEPS if step <= end and step not in without.get((group, seed), ())]
            write(root / f"{group}-seed{seed}.csv", "step,acc\n" + "\n".join(rows))


def test_steps_that_others_have_are_missing_and_widen_the_interval(tmp_path: Path) -> None:
    write_runs(tmp_path, {("a", 1): {20}, ("a", 2): {40}}, {"a": 40, "b": 30})
    curves = saltus.read(tmp_path, rule=Rule(above=0.3))
    assert {curve.key[:2]: curve.missing for curve in curves if curve.missing} == {("a", "1"): (20,), ("a", "2"): (40,)}
    found = {emergence.key[:2]: emergence for emergence in curves.emergences()}
    assert (found["a", "0"].after, found["a", "0"].by, found["a", "0"].missing) == (20, 30, ())
    assert (found["a", "1"].after, found["a", "1"].by, found["a", "1"].missing) == (10, 30, (20,))
    assert "2 curves lack steps that others have, where their intervals are wider: a, 1, acc: 20; a, 2, acc: 40" in (
        curves.notes
    )


def test_half_of_the_others_make_a_grid(tmp_path: Path) -> None:
    write_runs(tmp_path, {("a", 0): {10, 20}, ("a", 1): {10, 20}, ("a", 2): {10}}, {"a": 40})
    assert [curve.missing for curve in saltus.read(tmp_path)] == [(20,), (20,), ()]


def test_a_seed_alone_is_compared_with_other_groups_up_to_its_end(tmp_path: Path) -> None:
    for group, steps in (("a", (0, 10, 20, 30)), ("b", (0, 20)), ("c", (0, 10, 20, 30, 40))):
        write(tmp_path / f"{group}.csv", "step,acc\n" + "".join(f"{step},0.5\n" for step in steps))
    assert [curve.missing for curve in saltus.read(tmp_path)] == [(), (10,), ()]


def test_a_seed_that_all_other_groups_have(tmp_path: Path) -> None:
    write_runs(tmp_path, {}, {"a": 40, "b": 40, "c": 40})
    (tmp_path / "b-seed1.csv").unlink()
    note = "1 seed is missing from a group, and all others have it: b, seed 1"
    assert note in saltus.read(tmp_path).notes
    (tmp_path / "a-seed1.csv").unlink()
    assert not any("missing from a group" in each for each in saltus.read(tmp_path).notes)  # no longer in all others


def test_groups_with_seeds_of_their_own_lack_none(tmp_path: Path) -> None:
    for name in ("a-seed1", "a-seed2", "b-seed3", "b-seed4"):
        write(tmp_path / f"{name}.csv", "step,acc\n0,0.5\n")
    assert not any("missing" in note for note in saltus.read(tmp_path).notes)


def test_the_latest_of_a_repeated_step_counts() -> None:
    values = {
        Origin("g", "0", "", "loss"): [
            Value(5, at, value, np.nan, "f") for at, value in ((2.0, 0.1), (3.0, 0.2), (1.0, 0.3))
        ]
    }
    ledger = Ledger()
    (curve,) = gather(values, ReadSpec(paths=("x",)), None, ledger)
    assert (curve.steps.tolist(), curve.values.tolist(), curve.standard_error) == ([5], [0.2], None)
    assert ledger.sentences[0].startswith(
        "2 values came again at the same step, and the latest counts: g, seed 0, loss"
    )


def test_what_no_share_can_be_counts_as_not_measured(tmp_path: Path) -> None:
    for step, value in ((0, 0.1), (1, -0.5), (2, 1.5), (3, float("nan")), (4, float("inf")), (5, 0.4)):
        write_old(tmp_path / f"step{step}.json", "m", step, {"piqa": accuracy(value, error=-1.0 if step else 0.1)})
    (curve,) = curves = saltus.read(tmp_path, rule=Rule(above=0.3))
    assert (curve.steps.tolist(), curve.values.tolist()) == ([0, 5], [0.1, 0.4])
    np.testing.assert_array_equal(np.asarray(curve.standard_error), [0.1, np.nan])
    (found,) = curves.emergences()
    assert (found.after, found.by, found.missing) == (0, 5, (1, 2, 3, 4))
    assert curves.notes[:2] == (
        "2 values are outside 0 to 1, where acc lies, and count as not measured: m, seed 0, piqa, step 1: -0.5; m, "
        "seed 0, piqa, step 2: 1.5",
        "2 values are not finite and count as not measured: m, seed 0, piqa, step 3: nan; m, seed 0, piqa, step 4: inf",
    )


def test_no_value_that_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "step,loss,acc\n0,nan,0.5\n1,inf,0.5\n")
    assert saltus.read(path).units == ["acc"]
    with pytest.raises(SaltusError, match="there is no value that counts; 2 values are not finite"):
        saltus.read(path, value=["loss"])


def test_a_rule_reads_what_it_can_and_says_what_it_cannot(tmp_path: Path) -> None:
    for step, value in ((0, 0.2), (1, 0.26), (2, 0.28), (3, 0.5)):
        write_old(tmp_path / f"step{step}.json", "m", step, {"arc_easy": accuracy(value), "mine": {"acc": value}})
    (found,) = saltus.read(tmp_path, rule=Rule(above=0.25, errors=2.0)).emergences()
    assert (found.key.unit, found.after, found.by) == ("arc_easy", 1, 2)  # .26 is only one standard error above
    curves = saltus.read(tmp_path, rule=Rule(above=0.3, share=True))
    assert [(e.key.unit, e.after, e.by) for e in curves.emergences()] == [("arc_easy", 2, 3)]  # above .475
    assert (
        "1 curve has no known level of chance or no known ceiling, of which the rule needs a share, and is left "
        in (curves.notes[0])
    )
    curves = saltus.read(tmp_path, rule=Rule(above=0.3, share=True), chance=0.0)
    assert [(e.key.unit, e.by) for e in curves.emergences()] == [("arc_easy", 3), ("mine", 3)]
    said = (
        "none of the 1 curves, which have no standard errors, which the rule needs; give them in a column NAME_stderr"
    )
    with pytest.raises(SaltusError, match=said):
        saltus.read(tmp_path, only=["mine"], rule=Rule(above=0.3, errors=1.0))


def test_only_a_star_stands_for_something_else(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "step,acc [hard],acc?,accx\n0,0.1,0.1,0.1\n1,0.9,0.9,0.9\n")
    for wanted, units in (("acc [hard]", ["acc [hard]"]), ("acc?", ["acc?"]), ("acc *", ["acc [hard]"])):
        assert saltus.read(path, only=[wanted]).units == units


def test_down_from_chance_to_a_floor(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", "step,loss\n0,4.0\n1,3.0\n2,1.0\n3,0.5\n")
    share = saltus.read(path, rule=Rule(above=0.75, share=True), chance=4.0, ceiling=0.0)
    below = saltus.read(path, rule=Rule(below=1.5))
    assert [(e.after, e.by) for curves in (share, below) for e in curves.emergences()] == [(1, 2), (1, 2)]


def test_what_is_asked_for_and_not_there(tmp_path: Path) -> None:
    write_old(tmp_path / "step1.json", "m", 1, {"piqa": accuracy(0.5), "arc_easy": accuracy(0.5)})
    with pytest.raises(SaltusError, match="value: bleu was given; there are acc"):
        saltus.read(tmp_path, value=["bleu"])
    with pytest.raises(
        SaltusError, match=r"only: arc was given, and no unit has such a name; there are piqa, arc_easy"
    ):
        saltus.read(tmp_path, only=["arc"])
    assert saltus.read(tmp_path, only=["arc*"]).units == ["arc_easy"]


def test_levels_of_chance_have_sources_and_belong_to_shares() -> None:
    assert all(0.0 <= chance.level < 1.0 and chance.source for chance in CHANCES)
    assert (find_chance("mmlu_pro_law", "acc"), find_chance("mmlu_law", "acc")) == (0.1, 0.25)
    assert find_chance("piqa", "acc_norm") == find_chance("piqa, 5-shot", "acc,none") == 0.5
    assert find_chance("piqa", "brier") is None
    assert find_chance("<b>piqa</b>", "acc") is None
