"""One-dimensional cellular automata whose rule is drawn for each sequence and must be inferred in context."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from saltus.specs import CellularAutomatonSpec
from saltus.tasks.base import TaskFacts, require_fewer

_SEQUENCES = 4096  # drawn at most for an estimate of the floor
_LOOKUPS = 2**24  # table look-ups after which the estimate for a pool stops
_FEWEST = 32  # sequences; where 16 times _LOOKUPS do not suffice for them the floor is not estimated
_BLOCK = 4  # cells that are predicted at once, before rules that have failed are dropped


class CellularAutomaton:
    """Trajectories of cellular automata, one rule for each sequence (arXiv 2606.25010, cellular automata).

    A state has S cells of C symbols; a rule is a table of C**W symbols, indexed by the W cells around a cell read as
    a number to base C, leftmost cell first (the numbering of elementary rules). The paper does not state its
    boundary; here states wrap around. With S = 6, C = 2, W = 3, T = 3, k = 1, N = 2:

    >>> spec = CellularAutomatonSpec(size=6, symbols=2, window=3, states=3, rules=2)
    >>> task = CellularAutomaton(spec, np.random.default_rng(1))
    >>> task.pool  # columns: what becomes of 000, 001, 010, 011, 100, 101, 110, 111
    array([[1, 1, 0, 0, 1, 1, 0, 1],
           [0, 1, 0, 1, 1, 1, 0, 1]], dtype=uint8)
    >>> task.sample(np.random.default_rng(0), 1).reshape(3, 6)  # x0 (uniform), x1, x2
    array([[1, 1, 0, 1, 0, 1],
           [1, 0, 1, 0, 1, 1],
           [0, 1, 0, 1, 1, 1]], dtype=uint8)
    >>> task.facts.truth[7].astype(int)  # cell 2 of x1, token 8, is predicted at query 7 from cells 1, 2, 3 of x0
    array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    """

    def __init__(
        self,
        spec: CellularAutomatonSpec,
        generator: np.random.Generator,
        pool: NDArray[np.uint8] | None = None,
    ) -> None:
        """`pool` are the rules, if they are not to be drawn."""
        self._spec = spec
        self._entries = spec.symbols**spec.window
        self.pool: NDArray[np.uint8] | None = pool
        """[rule, entry] the N rules, drawn independently and uniformly; None where every sequence has a fresh rule."""
        if pool is None and spec.rules != "fresh":
            self.pool = self._draw_tables(generator, spec.rules)
        (self._floor_generator,) = generator.spawn(1)

    @property
    def facts(self) -> TaskFacts:
        """What is known before training; worked out at the first use.

        `floor_loss` is a Monte Carlo estimate of the loss of a predictor that knows the pool (or that rules are
        fresh) and all tokens before the one it predicts. From up to 4096 sequences, the standard error for one query
        at S = T = 16 is about 0.004 nats with N = 256, 0.01 with N = 4096, 0.04 with N = 65536 and at most 0.011 with
        fresh rules (at most 0.044 at S = 512). It is 0 where every sequence's rule is known for certain.
        NaN for states after the first with fresh rules and k > 1, for which no closed form is known, and with a pool
        where the first cells of 32 sequences alone would cost over 2**28 look-ups (such as N = 65536, S > 16, k > 7).
        """
        return self._facts

    @cached_property
    def _facts(self) -> TaskFacts:
        spec = self._spec
        size, length = spec.size, spec.size * spec.states
        state, cell = np.divmod(np.arange(1, length), size)  # of the predicted token
        key_state, key_cell = np.divmod(np.arange(length - 1), size)
        before = key_state[None, :] == state[:, None] - 1  # [query, key]
        distance = np.mod(np.arange(size)[:, None] - np.arange(size)[None, :], size)  # [cell, key cell] on the ring
        near = np.minimum(distance, size - distance) <= spec.applications * (spec.window // 2)
        chance = np.full(length - 1, np.log(spec.symbols))
        return TaskFacts(
            symbols=spec.symbols,
            length=length,
            units=tuple(f"cell {i}" for i in range(size)),
            unit_of_query=np.where(state > 0, cell, -1),
            truth=before & near[np.ix_(cell, key_cell)],
            candidates=before,
            chance_loss=chance,
            floor_loss=np.concatenate([chance[: size - 1], self._estimate_floor()]),
            corners=_describe_corners(spec, self.pool),
        )

    def sample(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """`count` fresh sequences, [sequence, token]: a uniform first state and the states that follow from it."""
        spec, (tables, rule) = self._spec, self._draw_rules(generator, count)
        return self._unroll(tables, rule, generator.integers(0, spec.symbols, size=(count, spec.size), dtype=np.uint8))

    @property
    def inputs(self) -> int:
        """As of an `InputTask`: the first state."""
        return self._spec.size

    def complete(self, inputs: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
        """The states that follow from a first one by rules that are drawn, [sequence, input] -> [sequence, token]."""
        return self._unroll(*self._draw_rules(generator, len(inputs)), inputs)

    def thin(self, keys: int, generator: np.random.Generator) -> "CellularAutomaton":
        """As of a `ThinTask`: rules that read the cells at both ends of the window as 0."""
        spec = self._spec
        require_fewer(keys, spec.window, odd=True)
        entries = np.arange(spec.symbols**keys) * spec.symbols ** ((spec.window - keys) // 2)
        pool = None if self.pool is None else self.pool[:, entries]
        return CellularAutomaton(spec.model_copy(update={"window": keys}), generator, pool)

    def truth_of(self, tokens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """The same truth map for every sequence: [sequence, token] -> [sequence, query, key]."""
        return np.broadcast_to(self.facts.truth, (len(tokens), *self.facts.truth.shape))

    def evolve(
        self, tables: NDArray[np.uint8], rule: NDArray[np.int64], state: NDArray[np.uint8], *, wrap: bool = True
    ) -> NDArray[np.uint8]:
        """The next state, after k applications of row `rule` [sequence] of `tables` [rule, entry].

        [sequence, cell] -> [sequence, cell]; without `wrap` only the cells whose sources are all given, k * (W - 1)
        fewer.
        """
        spec = self._spec
        flat, offset = tables.reshape(-1), (rule * self._entries)[:, None]
        for _ in range(spec.applications):
            entry: NDArray[np.int64] = offset + self._neighbourhoods(state, wrap=wrap)
            state = flat.take(entry)
        return state

    def _neighbourhoods(self, state: NDArray[np.uint8], *, wrap: bool = True) -> NDArray[np.uint16]:
        """The table entry that each cell looks up, [sequence, cell] -> [sequence, cell]."""
        spec = self._spec
        half = spec.window // 2
        if wrap and half:
            state = np.concatenate([state[:, -half:], state, state[:, :half]], axis=1)
        cells = state.shape[1] - 2 * half
        entry = state[:, :cells].astype(np.uint16)  # the specification allows 65536 entries at most
        for shift in range(1, spec.window):
            entry *= spec.symbols
            entry += state[:, shift : shift + cells]
        return entry

    def _draw_rules(self, generator: np.random.Generator, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Tables [rule, entry], and the row of each sequence's own."""
        if self.pool is None:
            return self._draw_tables(generator, count), np.arange(count)
        return self.pool, generator.integers(0, len(self.pool), size=count)

    def _unroll(
        self, tables: NDArray[np.uint8], rule: NDArray[np.int64], state: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """A first state and those that follow, [sequence, cell] -> [sequence, token]."""
        states = [state]
        for _ in range(self._spec.states - 1):
            states.append(self.evolve(tables, rule, states[-1]))
        return np.concatenate(states, axis=1)

    def _draw_tables(self, generator: np.random.Generator, count: int) -> NDArray[np.uint8]:
        return generator.integers(0, self._spec.symbols, size=(count, self._entries), dtype=np.uint8)

    def _estimate_floor(self) -> NDArray[np.float64]:
        """[query] the floor of the queries of all states after the first, see `facts`."""
        if self.pool is not None:
            return self._estimate_pool_floor(self.pool)
        if self._spec.applications == 1:
            return self._estimate_fresh_floor()
        return np.full((self._spec.states - 1) * self._spec.size, np.nan)

    def _estimate_fresh_floor(self) -> NDArray[np.float64]:
        """A neighbourhood that the sequence has shown before is certain, any other is uniform."""
        spec = self._spec
        count = int(np.clip(2**21 // (spec.size * spec.states), _FEWEST, _SEQUENCES))
        states = self.sample(self._floor_generator, count).reshape(-1, spec.size)
        entry = self._neighbourhoods(states).reshape(count, spec.states, spec.size)[:, :-1].reshape(count, -1)
        named = entry + np.arange(count)[:, None] * self._entries  # no two sequences share an entry
        first = np.zeros(named.shape, dtype=np.bool_)
        first.reshape(-1)[np.unique(named, return_index=True)[1]] = True
        return first.mean(axis=0) * np.log(spec.symbols)

    def _estimate_pool_floor(self, pool: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Mean entropy of the prediction that all rules make which agree with every cell so far, weighted equally."""
        spec = self._spec
        tables, repeats = np.unique(pool, axis=0, return_counts=True)
        step, margin = _BLOCK, spec.applications * (spec.window // 2)  # cells at once, cells beside them that they need
        if wrap := step + 2 * margin >= spec.size:
            step, margin = spec.size, 0
        width = step + 2 * margin
        cost = len(tables) * width * spec.applications  # look-ups of a sequence's first block
        if cost * _FEWEST > 16 * _LOOKUPS:
            return np.full((spec.states - 1) * spec.size, np.nan)
        chunk = int(np.clip(2**20 // (len(tables) * width), 1, 256))
        total, done, lookups = np.zeros((spec.states - 1, spec.size)), 0, 0
        # Stopping by cost shifts the mean by the order of one chunk's share in it, which is below the standard error.
        while done < _FEWEST or (done < _SEQUENCES and lookups < _LOOKUPS):
            states = self.sample(self._floor_generator, chunk).reshape(chunk, spec.states, spec.size)
            sequence = np.repeat(np.arange(chunk), len(tables))  # a pair is a sequence and a rule that agrees with it
            rule = np.tile(np.arange(len(tables)), chunk)
            for t in range(spec.states - 1):
                for start in range(0, spec.size, step):
                    open_ = (np.bincount(sequence, minlength=chunk) > 1)[sequence]  # with one rule left the loss is 0
                    sequence, rule = sequence[open_], rule[open_]
                    if not len(rule):
                        break
                    stop = min(start + step, spec.size)
                    sources = np.arange(start - margin, stop + margin) % spec.size
                    guess = self.evolve(tables, rule, states[:, t, sources][sequence], wrap=wrap)
                    lookups += len(rule) * width * spec.applications
                    right = np.logical_and.accumulate(guess == states[sequence, t + 1, start:stop], axis=1)
                    agrees = np.ones_like(right)  # [pair, cell] with every cell before this one
                    agrees[:, 1:] = right[:, :-1]
                    pair, cell = agrees.nonzero()
                    place = (sequence[pair] * (stop - start) + cell) * spec.symbols + guess[pair, cell]
                    votes = np.bincount(place, repeats[rule[pair]], chunk * (stop - start) * spec.symbols)
                    total[t, start:stop] += _entropy(votes.reshape(chunk, stop - start, spec.symbols)).sum(axis=0)
                    sequence, rule = sequence[right[:, -1]], rule[right[:, -1]]
            done += chunk
        return total.reshape(-1) / done


def _entropy(votes: NDArray[np.float64 | np.int64]) -> NDArray[np.float64]:
    """Entropy in nats of the shares of the last axis; 0 where there are no votes."""
    share = votes / np.maximum(votes.sum(axis=-1, keepdims=True), 1.0)
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1)


def _describe_corners(spec: CellularAutomatonSpec, pool: NDArray[np.uint8] | None) -> tuple[str, ...]:
    corners: list[str] = []
    if pool is not None:
        constant = int((pool == pool[:, :1]).all(axis=1).sum())
        if len(pool) == 1:
            corners.append("rules = 1: the rule can be memorised; nothing is inferred in context.")
            table = pool.reshape((spec.symbols,) * spec.window)
            ignored = [i for i in range(spec.window) if (table == table.take([0], axis=i)).all()]
            if ignored:
                corners.append(
                    f"The only rule ignores {len(ignored)} of the {spec.window} cells in its window (from the left: "
                    f"{', '.join(map(str, ignored))}), so the truth map overstates what a prediction needs."
                )
        if constant:
            corners.append(
                f"{constant} of {len(pool)} rules have a constant table: every state after the first is one symbol "
                "repeated, which can be copied from the cell before."
            )
        distinct = len(np.unique(pool, axis=0))
        if distinct < len(pool):
            corners.append(f"Only {distinct} of the {len(pool)} rules are distinct.")
    if spec.window == 1:
        corners.append("window = 1: each cell is the cell above it put through a table; no cells are combined.")
    reach = spec.applications * (spec.window - 1) + 1
    if reach >= spec.size:
        corners.append(
            f"k * (W - 1) + 1 = {reach} >= S = {spec.size}: every cell depends on every cell of the state before, so "
            "the truth map is dense and looking anywhere in that state agrees with it."
        )
    return tuple(corners)
