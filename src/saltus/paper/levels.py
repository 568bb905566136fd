"""What a loss on cellular automata means: the losses of predictors that have found a part of the pattern.

The paper calls a plateau over below 1.3 nats. How much of the pattern that takes depends on the number of cells.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saltus.specs import CellularAutomatonSpec
from saltus.tasks.cellular_automaton import CellularAutomaton

SEQUENCES = 600
"""The standard error of a loss is then about 0.004 nats."""

_PRIOR = 0.5
"""Pseudo-count of each symbol (Krichevsky and Trofimov 1981)."""


def measure_level(spec: CellularAutomatonSpec, cells: Sequence[int], generator: np.random.Generator) -> float:
    """Mean loss over all predictions, in nats, of a predictor that looks at some cells of the state before.

    It counts in context which symbol followed the symbols of those cells, and predicts by the counts. `cells` are
    relative to the cell that is predicted: 0 is the one above it and 1 its right neighbour; with none it knows the
    shares of symbols. The first state is uniform.
    """
    sequences = CellularAutomaton(spec, generator).sample(generator, SEQUENCES)
    states = sequences.reshape(SEQUENCES, spec.states, spec.size).astype(np.int64)
    before = np.roll(states, 1, axis=1)
    key = np.zeros_like(states)
    for cell in cells:
        key = key * spec.symbols + np.roll(before, -cell, axis=2)
    later = [array[:, 1:].reshape(SEQUENCES, -1) for array in (key, states)]
    losses = _predict(*later, contexts=spec.symbols ** len(cells), symbols=spec.symbols)
    first = np.log(spec.symbols)
    return float((first * spec.size + losses.sum(axis=1).mean()) / (spec.size * spec.states))


def _predict(key: NDArray[np.int64], symbol: NDArray[np.int64], *, contexts: int, symbols: int) -> NDArray[np.float64]:
    """[sequence, prediction] losses of predicting `symbol` from the counts under `key`, both [sequence, prediction]."""
    every = np.arange(len(key))
    counts = np.full((len(key), contexts, symbols), _PRIOR)
    losses = np.empty(key.shape)
    for place, (under, true) in enumerate(zip(key.T, symbol.T, strict=True)):
        seen = counts[every, under]
        losses[:, place] = np.log(seen.sum(axis=1) / seen[every, true])
        counts[every, under, true] += 1
    return losses
