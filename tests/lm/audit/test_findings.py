"""Paths of which every distance is known. Faults in real checkpoints are planted in `test_audit`."""

import numpy as np
import pytest

from saltus.lm.audit.findings import judge
from saltus.lm.audit.fingerprint import Fingerprint
from saltus.lm.suites.base import Run

RUN = Run("tiny", "0")


def test_movement_below_one_percent_is_no_fault() -> None:
    """Half precision holds the weights still at first, then lets some of them move by a rounding."""
    generator = np.random.Generator(np.random.Philox(0))
    start, noise = generator.standard_normal((2, 4096))

    def shift(share: float) -> Fingerprint:
        sketch = (start + share * noise).astype(np.float32)
        return Fingerprint(str(share), {}, 10**6, float(np.linalg.norm(start)), 0, sketch)

    def judge_path(*shares: float) -> list[tuple[int | None, str]]:
        prints = {RUN: {100 * step: shift(share) for step, share in enumerate(shares, start=1)}}
        return [(finding.step, finding.kind) for finding in judge(prints)]

    assert judge_path(0.0, 1e-6, 0.005, 2e-6, 3e-6) == []  # would be a stray
    assert judge_path(0.0, 1e-6, 2e-6, 0.005, 0.005001, 0.005002) == []  # would be a jump
    assert judge_path(0.0, 1e-6, 0.02, 2e-6, 3e-6) == [(300, "stray")]
    assert judge_path(0.0, 1e-6, 2e-6, 0.02, 0.020001, 0.020002) == [(400, "jump")]


@pytest.mark.parametrize("spliced", [False, True])
def test_a_splice_is_found_in_a_run_that_moves_fast(spliced: bool) -> None:
    """Each checkpoint has a cosine of 0.8 with the one before: another run is only 2.2 times as far."""
    generator = np.random.Generator(np.random.Philox(0))
    here, of_run = generator.standard_normal(4096), dict[int, Fingerprint]()
    for step in range(100, 1000, 100):
        kept = 0.0 if spliced and step == 500 else 0.8
        here = kept * here + (1 - kept**2) ** 0.5 * generator.standard_normal(4096)
        of_run[step] = Fingerprint(str(step), {}, 10**6, float(np.linalg.norm(here)), 0, here.astype(np.float32))
    found = [(finding.step, finding.kind) for finding in judge({RUN: of_run})]
    assert found == ([(500, "jump")] if spliced else [])


def test_a_run_that_goes_on_from_another_one_is_a_note_and_leaves_its_parent_whole() -> None:
    generator = np.random.Generator(np.random.Philox(0))

    def draw(name: str) -> Fingerprint:
        here = generator.standard_normal(4096).astype(np.float32)
        return Fingerprint(name, {}, 10**6, float(np.linalg.norm(here)), 0, here)

    base = {step: draw(f"base {step}") for step in (0, 20, 40)}
    tuned = {0: base[40], 20: draw("tuned 20")}
    found = [each for each in judge({Run("base", "0"): base, Run("tuned", "0"): tuned}) if each.kind == "identical"]
    assert [(each.run.size, each.step, each.severity) for each in found] == [("tuned", 0, "note")]
    assert found[0].detail.endswith("are those of base seed 0 step 40, from which the run may go on")
    swapped = {0: draw("tuned 0"), 20: base[40]}  # which is no beginning: nobody knows whose the weights are
    found = [each for each in judge({Run("base", "0"): base, Run("tuned", "0"): swapped}) if each.kind == "identical"]
    assert {(each.run.size, each.step, each.severity) for each in found} == {
        ("base", 40, "fault"),
        ("tuned", 20, "fault"),
    }
    late = {512: base[40], 600: draw("tuned 600")}  # listed from there on alone: that is no beginning either
    found = [each for each in judge({Run("base", "0"): base, Run("tuned", "0"): late}) if each.kind == "identical"]
    assert {each.severity for each in found} == {"fault"}
