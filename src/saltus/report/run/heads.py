"""What the heads of a run attend to at the end, and what chance would give them."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from saltus.measure.alignment import chance_overlap
from saltus.train.records import RunRecords


def heads_at_end(records: RunRecords, column: str) -> NDArray[np.float64]:
    """A column of `heads` at the last evaluation, heads of all layers on one axis: [seed, head, unit].

    One head of NaN where attention was not measured.
    """
    if not records.measured_attention:
        return np.full((len(records.seeds), 1, len(records.facts.units)), np.nan)
    values = records.cube("heads", column)[:, -1]
    return values.reshape(len(values), -1, values.shape[-1])


def chance_by_unit(records: RunRecords) -> NDArray[np.float64]:
    """[unit] overlap with the truth that the luckiest of the model's heads would have if heads looked at random.

    The mean of `chance_overlap` over the unit's queries. Where a unit has several queries this is above the true chance
    level, since no single head is the luckiest at each of them: the comparison is a strict one. NaN where no query of
    the unit has a true key, and where attention was not measured.

    Where the truth varies from sequence to sequence the overlap is a mean over sequences, in which luck averages out.
    The level is then that of a head that looks at a candidate key whatever the content is, s of so many candidates.
    """
    facts, heads = records.facts, records.spec.model.layers * records.spec.model.attention_heads
    needed, candidates = facts.needed, facts.candidates.sum(axis=1)
    result = np.full(len(facts.units), np.nan)
    if not records.measured_attention:
        return result

    @cache
    def chance(visible: int, sparsity: int) -> float:
        return chance_overlap(visible, sparsity, heads)

    for unit in range(len(facts.units)):
        of_unit = facts.unit_of_query == unit
        queries = np.flatnonzero(of_unit & (needed > 0))
        if facts.varies:
            result[unit] = (needed / np.maximum(1, candidates))[of_unit].mean()
        elif len(queries):
            result[unit] = np.mean([chance(int(query) + 1, int(needed[query])) for query in queries])
    return result
