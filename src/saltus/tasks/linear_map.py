"""Sparse linear maps: x_(t+1) = A x_t mod C, with exactly s ones in each row of A."""

import numpy as np
from numpy.typing import NDArray

from saltus.specs import LinearMapSpec
from saltus.tasks.base import TaskFacts, require_fewer


class LinearMap:
    """A linear map that is drawn once and stays fixed for a run (arXiv 2606.25010, linear map).

    With S = 4, s = 2, C = 2, T = 2, the rows of A name the inputs whose parity each output is:

    >>> task = LinearMap(LinearMapSpec(size=4, sparsity=2), np.random.default_rng(0))
    >>> task.map
    array([[0, 0, 1, 1],
           [1, 1, 0, 0],
           [1, 0, 0, 1],
           [0, 0, 1, 1]], dtype=uint8)
    >>> task.sample(np.random.default_rng(1), 2)  # x0 x0 x0 x0 then x1 x1 x1 x1
    array([[1, 1, 0, 0, 0, 0, 1, 0],
           [1, 1, 0, 1, 1, 0, 0, 1]], dtype=uint8)
    >>> task.facts.truth[3].astype(int)  # output 0 is predicted at query S - 1 = 3, from keys 2 and 3
    array([0, 0, 1, 1, 0, 0, 0])
    """

    def __init__(
        self, spec: LinearMapSpec, generator: np.random.Generator, rows: NDArray[np.uint8] | None = None
    ) -> None:
        """`rows` is A, if it is not to be drawn."""
        size, states = spec.size, spec.states
        self._spec = spec
        self.map: NDArray[np.uint8] = _draw_rows(size, spec.sparsity, generator) if rows is None else rows
        """[row, key] the matrix A."""
        length = size * states
        query = np.arange(length - 1)
        state, row = np.divmod(query + 1, size)  # of the predicted token
        scored = state > 0
        key_state, key_row = np.divmod(np.arange(length - 1), size)
        before = key_state[None, :] == state[:, None] - 1  # [query, key]
        chance = np.full(length - 1, np.log(spec.symbols))
        self._facts = TaskFacts(
            symbols=spec.symbols,
            length=length,
            units=tuple(f"row {i}" for i in range(size)),
            unit_of_query=np.where(scored, row, -1),
            truth=before & (self.map[np.ix_(row, key_row)] == 1),
            candidates=before,
            chance_loss=chance,
            floor_loss=np.where(scored, 0.0, chance),
            corners=_describe_corners(self.map),
        )

    @property
    def facts(self) -> TaskFacts:
        """What is known before training."""
        return self._facts

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """`count` fresh sequences, [sequence, token]: a uniform first state and the states that follow from it."""
        spec = self._spec
        return self.complete(generator.integers(0, spec.symbols, size=(count, spec.size), dtype=np.uint8), generator)

    @property
    def inputs(self) -> int:
        """As of an `InputTask`: the first state."""
        return self._spec.size

    def complete(self, inputs: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        """The states that follow from a first one, [sequence, input] -> [sequence, token]; nothing is drawn."""
        spec, state, states = self._spec, inputs, [inputs]
        weights = self.map.T.astype(np.float32)
        for _ in range(spec.states - 1):
            total = state.astype(np.float32) @ weights  # exact: sums stay far below 2**24
            state = np.mod(total, spec.symbols).astype(np.uint8)
            states.append(state)
        return np.concatenate(states, axis=1)

    def thin(self, keys: int, generator: np.random.Generator) -> "LinearMap":
        """As of a `ThinTask`: the map with the first ones of each row alone."""
        spec = self._spec
        require_fewer(keys, spec.sparsity)
        rows = self.map * (self.map.cumsum(axis=1) <= keys)
        return LinearMap(spec.model_copy(update={"sparsity": keys}), generator, rows.astype(np.uint8))

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The same truth map for every sequence: [sequence, token] -> [sequence, query, key]."""
        return np.broadcast_to(self.facts.truth, (len(tokens), *self.facts.truth.shape))


def _draw_rows(size: int, sparsity: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Rows drawn uniformly from the C(S, s) subsets, independently of each other."""
    rows = np.zeros((size, size), dtype=np.uint8)
    for row in rows:
        row[generator.choice(size, sparsity, replace=False)] = 1
    return rows


def _describe_corners(rows: NDArray[np.uint8]) -> tuple[str, ...]:
    size, sparsity = len(rows), int(rows[0].sum())
    corners: list[str] = []
    if sparsity == size:
        corners.append(
            f"s = S = {size}: all outputs of a state are equal, so copying the output before it solves every row but "
            "the first without finding the pattern."
        )
    elif sparsity == size - 1 and size > 2:
        corners.append(
            f"s = S - 1 = {sparsity}: any two outputs differ by at most two inputs, so an output can be had from the "
            "output before it and two inputs, a far smaller search than the row."
        )
    if sparsity == 1:
        corners.append("s = 1: every output is a copy of one input; nothing has to be combined.")
    repeated = size - len(np.unique(rows, axis=0))
    if repeated and sparsity < size:
        corners.append(
            f"{repeated} of {size} rows {'repeats' if repeated == 1 else 'repeat'} an earlier row of A, and can be "
            "copied from its output."
        )
    return tuple(corners)
