"""Patches of models with more heads than are measured exactly, ended in the middle, and how long they say they take."""

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from tests.lm.patching.test_patch import HEADS, make_prompts, make_spec, patch

from saltus.errors import SaltusError
from saltus.lm.patching.folder import PatchFolder
from saltus.lm.patching.patch import RANDOM_DRAWS
from saltus.lm.patching.units import Units
from saltus.report.terminal.patch import PatchView


class Ended(Exception):  # noqa: N818 - as a kill would
    """The process is gone."""


class Mortal(PatchFolder):
    """Ends as a process that is killed after so many units, before the next one is kept."""

    left = 10**6

    def add_unit(self, name: str, values: NDArray[np.float64]) -> None:
        if not self.left:
            raise Ended
        self.left -= 1
        super().add_unit(name, values)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.units: list[str] = []
        self.ahead = 0.0

    def planned(self, ahead: float, everything: float, exact: int, heads: int) -> None:
        assert ahead <= everything
        self.ahead, self.counts = ahead, (exact, heads)

    def worked(self, unit: str, work: float) -> None:
        self.units.append(unit)
        self.ahead -= work

    def spared(self, work: float) -> None:
        self.ahead -= work


def run(folder: PatchFolder, **changes: Any) -> tuple[dict[str, Any], Heard]:
    heard = Heard()
    return patch(make_prompts(), make_spec(**changes), units=Units(folder, heard)), heard


def test_a_patch_that_is_ended_anywhere_goes_on_after_its_last_unit(tmp_path: Path) -> None:
    """No kept unit is measured again, and the tables are the same to the last bit."""
    whole, _ = run(PatchFolder(tmp_path / "whole"))
    kept = {path.stem for path in (tmp_path / "whole" / "units").iterdir()}
    assert {"screen", "answers-patch-0-0", "answers-uniform-1-2", "greedy-2"} <= kept
    for lives in (1, 3, len(kept) // 2, len(kept) - 1):
        folder = Mortal(tmp_path / f"ended-{lives}")
        folder.left = lives
        with pytest.raises(Ended):
            run(folder)
        folder.left = 10**6
        before = {path.stem for path in (folder.path / "units").iterdir()}
        assert len(before) == lives
        again, second = run(folder)
        assert not before & set(second.units)
        assert before | set(second.units) >= kept
        assert all(again[name].equals(table) for name, table in whole.items())


def test_the_work_that_is_planned_is_the_work_that_is_done(tmp_path: Path) -> None:
    """Whether the greedy search ends early or late, and whether units were there before."""
    for share in (0.01, 0.5, 1.0):
        folder = PatchFolder(tmp_path / str(share))
        for _ in range(2):
            _, heard = run(folder, share=share)
            assert heard.ahead == pytest.approx(0.0, abs=1e-6)


def test_units_of_other_weights_are_not_gone_on_with(tmp_path: Path) -> None:
    folder = PatchFolder(tmp_path)
    run(folder)
    values = folder.read_unit("unpatched")
    assert values is not None
    folder.add_unit("unpatched", values + 0.1)
    with pytest.raises(SaltusError, match="move the patch's folder away to measure these checkpoints from the start"):
        run(folder)


def test_the_first_heads_of_the_screen_are_exact_and_equal_to_those_of_the_whole_patch() -> None:
    whole, some = patch(make_prompts()), patch(make_prompts(), make_spec(exact=2))
    screened = whole["screen"].to_pylist()
    means = {head: np.mean([r["effect"] for r in screened if (r["layer"], r["head"]) == head]) for head in HEADS}
    best = set(sorted(HEADS, key=lambda head: -means[head])[:2])
    assert some["screen"].equals(whole["screen"])
    expected = [row for row in whole["effects"].to_pylist() if (row["layer"], row["head"]) in best]
    rows = some["effects"].to_pylist()
    assert [list(row.values())[:4] for row in rows] == [list(row.values())[:4] for row in expected]
    np.testing.assert_allclose(
        [row["probability"] for row in rows], [row["probability"] for row in expected], rtol=0, atol=1e-6
    )
    sets = some["sets"].to_pylist()
    assert {tuple(head) for row in sets if row["kind"] == "greedy" for head in row["heads"]} <= best
    assert {row["draw"] for row in sets if row["kind"] == "random"} == set(range(RANDOM_DRAWS))
    assert {tuple(head) for row in sets if row["kind"] == "all" for head in row["heads"]} == set(HEADS)


def test_kinds_are_chosen_by_a_word() -> None:
    spec = make_spec(effects=("zero", "patch"))
    assert set(patch(make_prompts(), spec)["effects"]["kind"].to_pylist()) == {"patch", "zero"}
    assert spec.effects == ("patch", "zero")
    assert make_spec(effects=("patch", "zero")).content_hash == spec.content_hash != make_spec().content_hash
    with pytest.raises(SaltusError, match="effects lack 'patch', which the others are controls of; add it"):
        make_spec(effects=("zero",))


def test_a_person_is_told_how_long_it_takes_after_the_first_prompt() -> None:
    """At two units of work a second; what was done before does not make it look faster."""
    clock = [0.0]
    console = Console(record=True, width=200, file=StringIO())
    view = PatchView("patch-0", console, lambda: clock[0])
    view.planned(ahead=110.0, everything=1210.0, exact=16, heads=270)
    clock[0] = 4.0
    view.worked("first prompt", 1.0)
    clock[0] = 5.0
    view.worked("patterns", 9.0)
    view.spared(10.0)
    clock[0] = 30.0
    view.worked("patch-0-3", 50.0)
    assert console.export_text().splitlines() == [
        "patch-0: screening 270 heads, then 16 of them exactly; at most about 50 s; all of them exactly (--exact 0) "
        "would take about 10 min",
        "patch-0: 64% done, about 20 s left",
    ]
