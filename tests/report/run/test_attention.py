"""Patterns are packed small, and what is kept is right."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from saltus.report.run.attention import PackedPatterns, pack_patterns
from saltus.report.run.captions import caption_patterns
from saltus.report.run.summary import summarise
from saltus.train.records import Patterns, RunRecords

Build = Callable[..., RunRecords]


def pack(records: RunRecords) -> PackedPatterns:
    packed = pack_patterns(records, summarise(records), list(range(records.spec.seeds)))
    assert packed is not None
    return packed


def test_weights_come_back(three_seeds: RunRecords) -> None:
    packed, source = pack(three_seeds), three_seeds.patterns.patterns  # [snapshot, seed, layer, head, row, key]
    for seed in range(3):
        stored = np.frombuffer(b64decode(packed.weights[seed]), np.uint8).reshape(source[:, seed, 0].shape)
        np.testing.assert_allclose((stored / 255.0) ** 2, source[:, seed, 0].astype(float), atol=0.005)
    truth = np.frombuffer(b64decode(packed.truth), np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(truth, three_seeds.facts.truth[1:])
    assert (packed.steps, packed.keys, packed.visible) == (list(range(0, 90, 10)), 3, [2, 3])
    assert (packed.rows, packed.heads[0]) == (["row 0", "row 1"], ["head 0", "head 1"])
    assert packed.describe_omissions() == ""


def test_where_the_truth_varies_the_candidates_are_marked_and_called_so(three_seeds: RunRecords) -> None:
    facts = three_seeds.facts
    varying = replace(facts, truth=np.zeros_like(facts.truth), varying=facts.scored.astype(np.int64))
    packed = pack(replace(three_seeds, facts=varying))
    marked = np.frombuffer(b64decode(packed.truth), np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(marked, facts.candidates[1:])
    assert (packed.marked, pack(three_seeds).marked) == ("candidate keys", "true keys")
    text = caption_patterns(packed, summarise(three_seeds))
    assert "the candidate keys are outlined" in text
    assert "varies from sequence to sequence" in text
    assert "varies" not in caption_patterns(pack(three_seeds), summarise(three_seeds))


def test_there_follows_each_unit_even_when_it_is_lost(three_seeds: RunRecords) -> None:
    there = np.array(pack(three_seeds).there[1])
    np.testing.assert_array_equal(there[:, 0], [0, 0, 0, 1, 1, 0, 0, 0, 0])
    assert not there[:, 1].any()


def test_snapshots_are_thinned_evenly_with_first_and_last(build: Build) -> None:
    packed = pack(build(np.zeros((1, 106, 2))))
    assert (len(packed.steps), packed.steps[0], packed.steps[-1]) == (40, 0, 1050)
    assert "40 of 106 snapshots" in packed.describe_omissions()


@pytest.mark.parametrize("seeds", [1, 3, 16])
def test_an_automaton_stays_within_three_megabytes(build: Build, seeds: int) -> None:
    records = build(np.zeros((seeds, 2, 16)), needed=3, states=16, layers=4, heads=8)
    assert records.patterns.patterns.shape == (2, seeds, 4, 8, 240, 255)
    repeated = Patterns(np.arange(12) * 2, np.repeat(records.patterns.patterns, 6, axis=0)) if seeds < 16 else None
    packed = pack(replace(records, patterns=repeated or records.patterns))
    assert sum(map(len, packed.weights.values())) <= 3_000_000
    assert (len(packed.rows), packed.visible[0]) == (16, 240)  # the last query of each cell
    assert "16 of 240 scored queries" in packed.describe_omissions()


def test_heads_with_the_most_truth_are_kept(build: Build) -> None:
    progress = np.zeros((1, 2, 16))
    progress[0, -1] = 1.0
    packed = pack(build(progress, needed=3, layers=4, heads=8))
    assert len(packed.heads[0]) == 16
    assert "layer 3, head 7" in packed.heads[0]  # the one that has any; ties go to the first
    assert packed.heads[0][:2] == ["layer 0, head 0", "layer 0, head 1"]
    assert "16 of 32 heads" in packed.describe_omissions()


def test_no_snapshots_no_patterns(three_seeds: RunRecords) -> None:
    empty = Patterns(three_seeds.patterns.steps[:0], three_seeds.patterns.patterns[:0])
    records = replace(three_seeds, patterns=empty)
    assert pack_patterns(records, summarise(records), [0]) is None


def test_patterns_of_a_diverged_seed_are_blank(three_seeds: RunRecords) -> None:
    patterns = three_seeds.patterns.patterns.copy()
    patterns[:, 1] = np.nan
    packed = pack(replace(three_seeds, patterns=Patterns(three_seeds.patterns.steps, patterns)))
    assert set(b64decode(packed.weights[1])) == {0}
