"""Snapshots of attention and influence, thinned and packed for a page: one byte for each weight."""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltus.report.run.summary import RunSummary, heads_at_end
from saltus.train.records import RunRecords

INFLUENCE = "influence"
"""The name of the map of how far each token moves each prediction."""

_MOST_BYTES = 2_250_000  # of one run; a third more once they are text
_MOST_SNAPSHOTS = 40
_FEWEST_SNAPSHOTS = 8  # heads are left out before there are fewer snapshots
_MOST_HEADS = 16
_MOST_ROWS = 64


@dataclass(frozen=True)
class PackedPatterns:
    """What is drawn of the attention of some seeds, and of the influence of tokens on their predictions."""

    steps: list[int]
    """[snapshot]"""
    keys: int
    rows: list[str]
    """[row] the unit that each drawn query belongs to."""
    marked: str
    """What is marked: the true keys, or the candidate keys where the true ones vary from sequence to sequence."""
    truth: str
    """[row, key] base64 of bytes, 1 at what is marked."""
    visible: list[int]
    """[row] how many keys the query may attend to."""
    heads: dict[int, list[str]]
    """By seed, [head] names of the heads that are drawn, such as `layer 0, head 3`; last, where it was measured,
    `influence`."""
    weights: dict[int, str]
    """By seed, [snapshot, head, row, key] base64 of bytes: 255 times the square root of the attention weight."""
    there: dict[int, list[list[int]]]
    """By seed, [snapshot, row] 1 where the row's unit is there at that step."""
    all_snapshots: int
    all_heads: int
    all_rows: int

    def describe_omissions(self) -> str:
        """What was left out to keep the page small, as sentences; empty if nothing was."""
        omitted: list[str] = []
        if len(self.steps) < self.all_snapshots:
            omitted.append(f"{len(self.steps)} of {self.all_snapshots} snapshots, spread evenly")
        shown = sum(name != INFLUENCE for name in next(iter(self.heads.values())))
        if shown < self.all_heads:
            omitted.append(f"the {shown} of {self.all_heads} heads with the most attention on true keys at the end")
        if len(self.rows) < self.all_rows:
            omitted.append(f"{len(self.rows)} of {self.all_rows} scored queries, the last of each unit")
        return f"To keep the page small it holds {'; '.join(omitted)}." if omitted else ""


def pack_patterns(records: RunRecords, summary: RunSummary, seeds: list[int]) -> PackedPatterns | None:
    """What the seeds with these indices look at, small enough for a page; None if there is nothing."""
    patterns, facts = records.patterns, records.facts
    influence = patterns.influence
    if not (patterns.patterns.size or influence.size):
        return None
    count, _, layers, width, _, keys = patterns.patterns.shape
    queries = np.flatnonzero(facts.scored)
    rows = _choose_rows(
        facts.unit_of_query[queries], _MOST_BYTES // (len(seeds) * keys * min(count, _FEWEST_SNAPSHOTS))
    )
    size = len(seeds) * len(rows) * keys
    most_heads = min(_MOST_HEADS, layers * width)
    head_count = min(most_heads, max(1, _MOST_BYTES // (size * min(count, _FEWEST_SNAPSHOTS))))
    panels = head_count + bool(len(influence))
    snapshot_count = int(np.clip(_MOST_BYTES // (size * panels), 1, min(_MOST_SNAPSHOTS, count)))
    shown = np.unique(np.linspace(0, count - 1, snapshot_count).round().astype(np.int64))
    if snapshot_count == 1:
        shown = np.array([count - 1])
    units = facts.unit_of_query[queries[rows]]
    progress = records.cube("units", "progress")
    at = np.searchsorted(records.evaluated_steps, patterns.steps[shown], side="right") - 1
    measured = records.measured_attention
    mass = np.nan_to_num(heads_at_end(records, "truth_mass")).max(axis=2) if measured else None  # [seed, head]
    heads: dict[int, list[str]] = {}
    weights: dict[int, str] = {}
    there: dict[int, list[list[int]]] = {}
    for index in seeds:
        ranked = np.arange(0) if mass is None else np.argsort(-mass[index], kind="stable")
        chosen = np.sort(ranked[:head_count])
        layer, head = chosen // width, chosen % width
        part = patterns.patterns[shown[:, None, None], index, layer[:, None], head[:, None], rows]
        seed = summary.seeds[index].seed
        heads[seed] = [_name_head(int(i), int(j), layers) for i, j in zip(layer, head, strict=True)]
        if len(influence):
            heads[seed].append(INFLUENCE)
            part = np.concatenate([part, influence[shown[:, None], index, queries[rows]][:, None]], axis=1)
        weights[seed] = _encode(np.sqrt(np.clip(np.nan_to_num(part.astype(np.float32)), 0.0, 1.0)) * 255.0)
        passed = progress[index, at][:, units] >= records.spec.emergence.threshold
        there[seed] = passed.astype(int).tolist()
    return PackedPatterns(
        steps=[int(step) for step in patterns.steps[shown]],
        keys=keys,
        rows=[facts.units[unit] for unit in units],
        marked="candidate keys" if facts.varies else "true keys",
        truth=_encode((facts.candidates if facts.varies else facts.truth)[queries[rows]].astype(np.float32)),
        visible=[int(query) + 1 for query in queries[rows]],
        heads=heads,
        weights=weights,
        there=there,
        all_snapshots=count,
        all_heads=layers * width,
        all_rows=len(queries),
    )


def _choose_rows(unit_of_row: NDArray[np.int64], affordable: int) -> NDArray[np.int64]:
    """All scored queries where they are few, otherwise the last of each unit, or of some units spread evenly."""
    most = int(np.clip(affordable, 1, _MOST_ROWS))
    if len(unit_of_row) <= most:
        return np.arange(len(unit_of_row))
    last = np.array([np.flatnonzero(unit_of_row == unit)[-1] for unit in np.unique(unit_of_row)])
    return last[np.unique(np.linspace(0, len(last) - 1, min(most, len(last))).round().astype(np.int64))]


def _name_head(layer: int, head: int, layers: int) -> str:
    return f"layer {layer}, head {head}" if layers > 1 else f"head {head}"


def _encode(values: NDArray[Any]) -> str:
    return b64encode(values.round().astype(np.uint8).tobytes()).decode("ascii")
