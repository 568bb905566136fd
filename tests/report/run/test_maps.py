"""Snapshots are packed small, and what is kept is right."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from saltus.report.html.blocks import Maps
from saltus.report.run.maps import pack_maps
from saltus.report.run.summary import summarise
from saltus.train.records import RunRecords, SnapshotRows, Snapshots

Build = Callable[..., RunRecords]


def pack(records: RunRecords) -> Maps:
    packed = pack_maps(records, summarise(records), list(range(records.spec.seeds)))
    assert packed is not None
    return packed


def unpack(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(b64decode(text), np.uint8)


def list_heads(packed: Maps, seed: int = 0) -> list[str]:
    (_, panels), *_ = packed.views[seed].groups
    return [panel.title for panel in panels]


def test_weights_come_back(three_seeds: RunRecords) -> None:
    packed, source = pack(three_seeds), three_seeds.snapshots.attention  # [snapshot, seed, layer, head, row, key]
    for seed, view in enumerate(packed.views):
        ((title, panels),) = view.groups
        assert title == ""
        for head, panel in enumerate(panels):
            stored = unpack(panel.weights).reshape(9, 2, 3)
            np.testing.assert_allclose((stored / 255.0) ** 2, source[:, seed, 0, head].astype(float), atol=0.005)
    assert packed.marked is not None
    np.testing.assert_array_equal(unpack(packed.marked[1]).reshape(2, 3), three_seeds.facts.truth[1:])
    view = packed.views[0]
    assert (view.count, view.visible, view.rows, view.labels) == (3, [2, 3], ["row 0", "row 1"], ["0", "1"])
    assert packed.frames == [f"step {step}" for step in range(0, 90, 10)]
    assert list_heads(packed) == ["head 0", "head 1"]
    assert "To keep the page small" not in packed.caption


def test_influence_is_the_last_map(three_seeds: RunRecords) -> None:
    influence = np.linspace(0.0, 1.0, 9 * 3 * 3 * 3, dtype=np.float32).reshape(9, 3, 3, 3)
    packed = pack(replace(three_seeds, kept=SnapshotRows.of(replace(three_seeds.snapshots, influence=influence))))
    assert list_heads(packed, 2) == ["head 0", "head 1", "influence"]
    stored = unpack(packed.views[2].groups[0][1][-1].weights).reshape(9, 2, 3)
    np.testing.assert_allclose((stored / 255.0) ** 2, influence[:, 2, 1:], atol=0.005)
    assert "Influence is how far a prediction moves" in packed.caption


def test_where_the_truth_varies_the_candidates_are_marked_and_called_so(three_seeds: RunRecords) -> None:
    facts = three_seeds.facts
    varying = replace(facts, truth=np.zeros_like(facts.truth), varying=facts.scored.astype(np.int64))
    packed, usual = pack(replace(three_seeds, facts=varying)), pack(three_seeds)
    assert packed.marked is not None
    assert usual.marked is not None
    np.testing.assert_array_equal(unpack(packed.marked[1]).reshape(2, 3), facts.candidates[1:])
    assert (packed.marked[0], usual.marked[0]) == ("candidate keys", "true keys")
    assert "the candidate keys are outlined" in packed.caption
    assert "varies from sequence to sequence" in packed.caption
    assert "varies" not in usual.caption


def test_there_follows_each_unit_even_when_it_is_lost(three_seeds: RunRecords) -> None:
    there = np.array(pack(three_seeds).views[1].there)
    np.testing.assert_array_equal(there[:, 0], [0, 0, 0, 1, 1, 0, 0, 0, 0])
    assert not there[:, 1].any()


def test_snapshots_are_thinned_evenly_with_first_and_last(build: Build) -> None:
    packed = pack(build(np.zeros((1, 106, 2))))
    assert (len(packed.frames), packed.frames[0], packed.frames[-1]) == (40, "step 0", "step 1,050")
    assert "40 of 106 snapshots" in packed.caption


@pytest.mark.parametrize("seeds", [1, 3, 16])
def test_an_automaton_stays_within_three_megabytes(build: Build, seeds: int) -> None:
    records = build(np.zeros((seeds, 2, 16)), needed=3, states=16, layers=4, heads=8)
    attention = records.snapshots.attention
    assert attention.shape == (2, seeds, 4, 8, 240, 255)
    repeated = Snapshots(np.arange(12) * 2, np.repeat(attention, 6, axis=0)) if seeds < 16 else None
    packed = pack(replace(records, kept=SnapshotRows.of(repeated or records.snapshots)))
    sizes = [len(panel.weights) for view in packed.views for _, panels in view.groups for panel in panels]
    assert sum(sizes) <= 3_000_000
    assert (len(packed.views[0].rows), packed.views[0].visible[0]) == (16, 240)  # the last query of each cell
    assert "16 of 240 scored queries" in packed.caption


def test_heads_with_the_most_truth_are_kept(build: Build) -> None:
    progress = np.zeros((1, 2, 16))
    progress[0, -1] = 1.0
    packed = pack(build(progress, needed=3, layers=4, heads=8))
    heads = list_heads(packed)
    assert len(heads) == 16
    assert "layer 3, head 7" in heads  # the one that has any; ties go to the first
    assert heads[:2] == ["layer 0, head 0", "layer 0, head 1"]
    assert "16 of 32 heads" in packed.caption


def test_no_snapshots_no_maps(three_seeds: RunRecords) -> None:
    empty = Snapshots(three_seeds.snapshots.steps[:0], three_seeds.snapshots.attention[:0])
    records = replace(three_seeds, kept=SnapshotRows.of(empty))
    assert pack_maps(records, summarise(records), [0]) is None


def test_maps_of_a_diverged_seed_are_blank(three_seeds: RunRecords) -> None:
    attention = three_seeds.snapshots.attention.copy()
    attention[:, 1] = np.nan
    packed = pack(replace(three_seeds, kept=SnapshotRows.of(Snapshots(three_seeds.snapshots.steps, attention))))
    assert {int(value) for panel in packed.views[1].groups[0][1] for value in unpack(panel.weights)} == {0}
