"""Snapshots of attention and influence of some seeds, thinned and packed for a page."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saltus.report.html.blocks import Maps, MapsView, Panel, pack_bytes, pack_weights
from saltus.report.html.drawing import thin
from saltus.report.html.labels import shorten
from saltus.report.run.heads import heads_at_end
from saltus.report.run.summary import RunSummary, find_there
from saltus.train.records import RunRecords

_MOST_BYTES = 2_250_000  # of one run; a third more once they are text
_MOST_SNAPSHOTS = 40
_FEWEST_SNAPSHOTS = 8  # heads are left out before there are fewer snapshots
_MOST_HEADS = 16
_MOST_ROWS = 64


def pack_maps(records: RunRecords, summary: RunSummary, seeds: Sequence[int]) -> Maps | None:
    """What the seeds with these indices, the options of the chooser `seed`, look at; None if there is nothing.

    It is small enough for a page: snapshots, heads and queries are left out where there are many, and it is said.
    """
    attention, influence = records.snapshots.attention, records.snapshots.influence
    if not (attention.size or influence.size):
        return None
    facts, measured = records.facts, records.measured_attention
    count, _, layers, width, _, keys = attention.shape
    queries = np.flatnonzero(facts.scored)
    fewest = len(seeds) * keys * min(count, _FEWEST_SNAPSHOTS)
    rows = _choose_rows(facts.unit_of_query[queries], _MOST_BYTES // fewest)
    heads = min(_MOST_HEADS, layers * width, max(1, _MOST_BYTES // (fewest * len(rows))))
    moved = bool(len(influence)) and not facts.reordered  # influence is by place, which is another one in each sequence
    panels = heads + moved
    most = int(np.clip(_MOST_BYTES // (len(seeds) * len(rows) * keys * panels), 1, _MOST_SNAPSHOTS))
    shown = thin(count, most) if most > 1 else np.array([count - 1])
    units = facts.unit_of_query[queries[rows]]
    at = np.searchsorted(records.evaluated_steps, records.snapshots.steps[shown], side="right") - 1
    there = find_there(records)[:, at][:, :, units].astype(int)  # [seed, snapshot, row]
    mass = np.nan_to_num(heads_at_end(records, "truth_mass")).max(axis=2)  # [seed, head]
    names = [facts.units[unit] for unit in units]
    views: list[MapsView] = []
    for index in seeds:
        chosen = np.sort(np.argsort(-mass[index], kind="stable")[:heads]) if measured else np.arange(0)
        drawn = [
            Panel(
                f"layer {head // width}, head {head % width}" if layers > 1 else f"head {head}",
                pack_weights(attention[shown[:, None], index, head // width, head % width, rows]),
            )
            for head in chosen
        ]
        if moved:
            drawn.append(Panel("influence", pack_weights(influence[shown[:, None], index, queries[rows]])))
        views.append(
            MapsView(
                rows=names,
                labels=[shorten(name.removeprefix(f"{summary.noun} "), 6) for name in names],
                count=keys,
                visible=[int(query) + 1 for query in queries[rows]],
                groups=[("", drawn)],
                there=there[index].tolist(),
            )
        )
    marked = "candidate keys" if facts.varies else "true keys"
    omitted = _describe_omissions(
        (len(shown), count), (heads if measured else 0, layers * width), (len(rows), len(queries))
    )
    return Maps(
        key="attention",
        title="What it looks at",
        caption=f"{_caption(summary.noun, marked, keys, measured, moved)} {omitted}".strip(),
        by="seed",
        views=views,
        frames=[f"step {step:,}" for step in records.snapshots.steps[shown]],
        marked=(marked, pack_bytes((facts.candidates if facts.varies else facts.truth)[queries[rows]])),
    )


def _choose_rows(unit_of_row: NDArray[np.int64], affordable: int) -> NDArray[np.int64]:
    """All scored queries where they are few, otherwise the last of each unit, or of some units spread evenly."""
    most = int(np.clip(affordable, 1, _MOST_ROWS))
    if len(unit_of_row) <= most:
        return np.arange(len(unit_of_row))
    last = np.array([np.flatnonzero(unit_of_row == unit)[-1] for unit in np.unique(unit_of_row)])
    return last[thin(len(last), most)]


def _describe_omissions(snapshots: tuple[int, int], heads: tuple[int, int], rows: tuple[int, int]) -> str:
    """What was left out to keep the page small, as a sentence; each is how many are shown, of how many."""
    parts = {
        "{} of {} snapshots, spread evenly": snapshots,
        "the {} of {} heads with the most attention on true keys at the end": heads,
        "{} of {} scored queries, the last of each unit": rows,
    }
    omitted = [text.format(shown, there) for text, (shown, there) in parts.items() if shown < there]
    return f"To keep the page small it holds {'; '.join(omitted)}." if omitted else ""


def _caption(noun: str, marked: str, keys: int, attention: bool, influence: bool) -> str:
    where = "outlined" if keys <= 64 else "in the first map"
    watched = "which head finds them" if attention else "when the tokens that move it become the true ones"
    text = (
        f"Each line of a map is a scored query, labelled by its {noun}, and each column a key; the {marked} are "
        f"{where}. A label turns bold, with a dot, while the {noun} is there: watch {watched} just then."
    )
    if influence:
        text += (
            " Influence is how far a prediction moves, in total variation, when the token at a key is another one: it "
            "asks of the whole model what attention shows of a head."
        )
    if marked != "true keys":
        text += (
            " Which of them is the true one varies from sequence to sequence, and the maps are means over sequences: a "
            "head that finds it looks spread over all of them. Its truth mass, below, is taken sequence by sequence."
        )
    return text
