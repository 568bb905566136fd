"""How many of the units do K seeds together have, against K? Seeds find different units, so few of them cover most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from saltus.curves import Emergence, Emergences
from saltus.errors import SaltusError
from saltus.measure.bootstrap import DRAWS, draw_weights, find_limits
from saltus.measure.intervals import Estimate, check_level


@dataclass(frozen=True)
class Coverage:
    """The share of the units that at least one of K seeds has."""

    sizes: tuple[int, ...]
    """K, increasing."""
    shares: tuple[Estimate, ...]
    """Of the units, on average over all choices of K of the seeds."""
    seeds: int
    units: int

    @property
    def best(self) -> float:
        """The share that all seeds together have."""
        return self.shares[-1].value or 0.0


def gather_learned(found: Emergences) -> NDArray[np.bool_]:
    """[seed, unit] whether a unit emerged in a seed and was not lost again; seeds that were not watched are left out.

    Raises:
        SaltusError: if a seed does not have each of the units: what was not asked of it is neither there nor missing.

    """
    seeds = {run: own for run, own in found.by_seed().items() if not all(map(_is_unknown, own))}
    units = dict.fromkeys(each.key.unit for each in found)
    for (group, seed), own in seeds.items():
        if lacking := units.keys() - {each.key.unit for each in own if not _is_unknown(each)}:
            raise SaltusError(
                f"seed {seed} of {group or 'the group'} has no curve of {sorted(lacking)[0]!r}, which others have; "
                "choose seeds that have all units"
            )
    rows = [{each.key.unit: not each.censored and each.lost is None for each in own} for own in seeds.values()]
    return np.array([[row[unit] for unit in units] for row in rows], dtype=np.bool_).reshape(len(rows), len(units))


def _is_unknown(emergence: Emergence) -> bool:
    """Whether nothing was measured after step 0 that should have been; a budget that ends there knows what it lacks."""
    return emergence.unwatched and (emergence.after < 0 or bool(emergence.missing))


def estimate_coverage(
    learned: NDArray[np.bool_], sizes: Sequence[int], generator: np.random.Generator, level: float = 0.95
) -> Coverage:
    """The share of units [seed, unit] that K seeds cover, for each K of `sizes`.

    The value is exact for the seeds at hand: of n seeds with a unit in m, a choice of K misses it with probability
    C(n - m, K) / C(n, K). Limits are those of `measure.bootstrap`, over seeds: a lower one with a pseudo-seed that has
    no unit, an upper one with a pseudo-seed that has all.

    Raises:
        SaltusError: if there is no seed or unit, or a K is not between 1 and the number of seeds.

    """
    check_level(level)
    seeds, units = learned.shape
    if not seeds or not units:
        raise SaltusError(f"there are {seeds} seeds with {units} units; it takes at least one of each")
    if wrong := [size for size in sizes if not 1 <= size <= seeds]:
        raise SaltusError(f"seeds: {wrong[0]} was given; there are 1 to {seeds} seeds to pool")
    having = learned.sum(axis=0)
    weights = draw_weights(seeds, generator, DRAWS)
    lower, upper = (np.vstack([learned, np.full((1, units), worst)]) for worst in (False, True))
    shares: list[Estimate] = []
    for size in sorted(sizes):
        value = float(1.0 - _choose_ratio(seeds - having, seeds, size).mean())
        low, _ = find_limits(_cover(weights @ lower, size), level)
        _, high = find_limits(_cover(weights @ upper, size), level)
        shares.append(Estimate(value, min(float(low), value), max(float(high), value), level))
    return Coverage(tuple(sorted(sizes)), tuple(shares), seeds, units)


def _cover(probability: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """[draw] the mean share covered by so many independent seeds, of [draw, unit] the probability of one."""
    return (1.0 - (1.0 - probability.clip(0.0, 1.0)) ** size).mean(axis=1)


def _choose_ratio(few: NDArray[np.int64], many: int, size: int) -> NDArray[np.float64]:
    """[unit] C(few, size) / C(many, size), 0 where there are fewer than `size`."""

    def log_choose(n: NDArray[np.float64]) -> NDArray[np.float64]:
        return -betaln(n - size + 1.0, size + 1.0) - np.log(n + 1.0)

    enough = few >= size
    ratio = np.exp(log_choose(np.where(enough, few, size).astype(float)) - log_choose(np.array([float(many)])))
    return np.where(enough, ratio, 0.0)
