"""Losses of predictors that have found a part of the pattern of an automaton."""

from collections import Counter
from math import log

import numpy as np
import pytest

from saltus.paper import levels
from saltus.paper.levels import measure_level
from saltus.specs import CellularAutomatonSpec
from saltus.tasks.cellular_automaton import CellularAutomaton


@pytest.mark.parametrize("cells", [(), (0,), (0, 1), (-1, 0, 1)])
def test_it_is_what_a_plain_loop_counts(cells: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "SEQUENCES", 3)
    spec = CellularAutomatonSpec(size=5, states=4, rules="fresh")
    generator = np.random.default_rng(1)
    sequences = CellularAutomaton(spec, generator).sample(generator, 3).reshape(3, 4, 5).tolist()
    total = 0.0
    for states in sequences:
        seen: Counter[tuple[object, ...]] = Counter()
        for t, i in np.ndindex(4, 5):
            under = tuple(states[t - 1][(i + cell) % 5] for cell in cells) if t else ()
            counts = [seen[*under, "->", symbol] + 0.5 for symbol in range(4)]
            total += log(4) if t == 0 else log(sum(counts) / counts[states[t][i]])
            if t:
                seen[*under, "->", states[t][i]] += 1
    assert measure_level(spec, cells, np.random.default_rng(1)) == pytest.approx(total / 60)


def test_the_level_of_the_plateau_needs_two_cells_at_few_cells_and_one_at_many() -> None:
    known = {"shares": (), "one": (0,), "two": (0, 1)}
    found = {
        size: {
            told: measure_level(CellularAutomatonSpec(size=size, rules="fresh"), cells, np.random.default_rng(0))
            for told, cells in known.items()
        }
        for size in (8, 64)
    }
    assert found[8]["one"] > 1.3 > found[8]["two"]
    assert found[64]["shares"] > 1.3 > found[64]["one"]
