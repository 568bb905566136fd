"""The section on a patch: complete whatever the patch came to."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tests.report.page import render

from saltus.lm.patching.records import PATCH_TABLES, PatchRecords

Patch = Callable[..., PatchRecords]


def test_every_number_of_a_patch_is_in_the_tables(patch: Patch, tmp_path: Path) -> None:
    page = render(tmp_path, patch([[0.3, 0.0], [0.0, 0.2]]))
    assert len(page.plots) == 3 + 8
    assert "greedy 0.0 1.1 0 2 0.610" in page.text
    assert "0 0 0.300 0.284 0.316 0.240 0.000 0.015 -0.300 -0.300" in page.text


def test_patches_with_little_in_them(patch: Patch, tmp_path: Path) -> None:
    bare = patch([[0.3]], greedy=[0.9], prompts=1, trajectory=())
    kept = bare.effects.filter(pc.field("kind") != "mean")
    empty = PATCH_TABLES["patterns"].empty_table()
    page = render(tmp_path, replace(bare, effects=kept, patterns=empty))
    assert "The pattern of the best head brings back 90%" in page.text
    assert "1 random head brings back" in page.text
    assert "ranks cannot be compared" in page.text
    assert page.sections[0]["maps"] == {}
    assert "map-mean" not in page.sections[0]["figures"]
    assert "What these heads attend to" not in page.text


def test_a_donor_without_gain_has_no_shares(patch: Patch, tmp_path: Path) -> None:
    page = render(tmp_path, patch([[0.0, 0.0]], gain=-0.05, greedy=[]))
    assert "shares" not in page.sections[0]["figures"]
    assert "How much do a few heads bring" not in page.text
    assert "\N{EN DASH} \N{EN DASH} \N{EN DASH}" in page.text  # the share of the gain in the table


def test_effects_that_could_not_be_measured(patch: Patch, tmp_path: Path) -> None:
    records = patch([[0.3, 0.0]])
    kinds = np.array(records.effects["kind"].to_pylist())
    values = np.where(kinds == "resample", np.nan, records.effects["probability"].to_numpy())
    column = records.effects.schema.get_field_index("probability")
    page = render(
        tmp_path, replace(records, effects=records.effects.set_column(column, "probability", pa.array(values)))
    )
    assert "map-resample" not in page.sections[0]["figures"]
    assert "0 0 0.300 0.284 0.316 0.240 0.000 0.015 -0.300 -0.300 -0.300 \N{EN DASH} -0.300" in page.text
