"""`saltus split`: what counts as a map, a seed and a row of runs, scans and anybody's curves, and what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saltus import Curve, Curves, Key, Rule, api
from saltus.errors import SaltusError
from saltus.train.folder import RunFolder

Saltus = Callable[..., tuple[int, str, str]]


def draw_curves(groups: int = 3, seeds: int = 3, units: int = 4) -> Curves:
    """Steps log-normal around 1000 with a spread of .3 between seeds and .2 within; evaluated every 20 steps."""
    generator = np.random.default_rng(2)
    steps = np.arange(0, 4001, 20)
    logs = (
        np.log(1000)
        + 0.3 * generator.normal(size=(groups, seeds, 1))
        + 0.2 * generator.normal(size=(groups, seeds, units))
    )
    return Curves(
        tuple(
            Curve(Key(f"map {g}", str(s), f"row {u}"), steps, (steps >= np.exp(logs[g, s, u])).astype(float))
            for g, s, u in np.ndindex(groups, seeds, units)
        ),
        "accuracy",
        Rule(above=0.5),
    )


@pytest.fixture
def two_maps(finished: RunFolder, tmp_path: Path) -> Callable[..., None]:
    """Copies of the tiny run as `one` and `two`, the second with changes to its description."""

    def make(**changes: Any) -> None:
        for name in ("one", "two"):
            shutil.copytree(finished.path, tmp_path / name)
        path = tmp_path / "two" / RunFolder.description
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return make


def test_groups_of_curves_are_maps_and_units_are_rows() -> None:
    found = api.split(draw_curves())
    assert (found.maps, found.seeds, found.rows, found.units) == (3, 9, 12, 36)
    one = api.split(draw_curves(), draw_curves(), unit="row 1")  # sources of curves of their own
    assert (list(one.spreads), one.maps, one.rows) == (["map", "rest"], 6, 6)


def test_what_is_read_by_several_rules_is_not_split_into_maps() -> None:
    curves = draw_curves(groups=1)
    with pytest.raises(SaltusError, match=r"split: map 0 is read by .* of at least 0\.5, and map 0 by accuracy"):
        api.split(curves, replace(curves, rule=Rule(above=0.9)))
    with pytest.raises(SaltusError, match="split: map 0 has accuracy and map 0 has loss, whose steps mean different"):
        api.split(curves, replace(curves, measure="loss"))
    api.split(curves, replace(curves, rule=Rule(above=0.9)), threshold=0.7)


def test_runs_of_other_master_seeds_have_other_maps(
    saltus: Saltus, two_maps: Callable[..., None], tmp_path: Path
) -> None:
    two_maps(master_seed=1, name="other", seeds=2)
    code, out, error = saltus("split", "one", "two", "--threshold", "0.05", "--hold", "1", "--out", tmp_path)
    assert (code, error) == (0, "")
    said = " ".join(out.split())
    assert "2 maps, 4 seeds, 8 rows" in said
    assert "Between two seeds of one map the log steps of rows correlate by" in said
    assert "the two cannot be told apart" not in said
    for part in ("map", "seed", "row", "rest"):
        assert f"│ {part} " in out


def test_a_map_for_each_seed_is_no_shared_map(two_maps: Callable[..., None], tmp_path: Path, saltus: Saltus) -> None:
    two_maps(map="seed")
    _, out, _ = saltus("split", tmp_path / "two", "--threshold", "0.05", "--hold", "1")
    assert "2 maps, 2 seeds, 8 rows" in " ".join(out.split())
    assert "Each map has one seed, so the two cannot be told apart." in " ".join(out.split())
    assert "│ map and seed " in out


def test_one_map_tells_seeds_and_rows_alone(saltus: Saltus, two_maps: Callable[..., None], tmp_path: Path) -> None:
    two_maps()
    code, out, _ = saltus("split", tmp_path / "one", "--threshold", "0.05", "--hold", "1")
    assert (code, "One map cannot tell how much maps differ." in " ".join(out.split())) == (0, True)
    code, _, error = saltus("split", tmp_path / "one", tmp_path / "two", "--threshold", "0.05", "--hold", "1")
    assert (code, "a row of one seed and map is there twice; give each run once" in error) == (2, True)


def test_runs_of_several_settings_are_no_spread(
    saltus: Saltus, two_maps: Callable[..., None], finished: RunFolder, tmp_path: Path
) -> None:
    training = finished.spec().training.model_dump(mode="json")
    two_maps(master_seed=1, training=training | {"learning_rate": 0.5})
    code, out, error = saltus("split", "one", "two", "--out", tmp_path)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "tiny and another run differ in training" in error


def test_what_never_emerged_is_one_sentence() -> None:
    with pytest.raises(SaltusError, match="0 of 36 units emerged"):
        api.split(draw_curves(), threshold=2.0)
    with pytest.raises(SaltusError, match="there is no unit 'row 9'"):
        api.split(draw_curves(), unit="row 9")
