"""How much of the spread of emergence steps is the map, the seed and the row: a variance split with intervals.

log step of a row = level + map + seed + row + rest, natural logarithms: a seed belongs to one map, and so does a row,
which all seeds of the map share. Each part is normal around 0 with a spread (a standard deviation) of its own. The rest
is what one seed does with one row.

Steps are known as intervals, so the log steps themselves are drawn as well (Albert and Chib, JASA 88, 1993), each in
its interval; a censored one lies beyond the budget, wherever the others put it. Spreads have half-Cauchy priors of
scale 1 (Gelman, Bayesian Analysis 1, 2006): a spread of 1 is a factor of 2.7 between ordinary seeds, twice the usual
.45, and the tail allows any other. The level has a flat prior. Gibbs sampling with a redundant scale for each part
(Gelman, van Dyk, Huang and Boscardin, JCGS 17, 2008), which does not stick where a spread is near 0; the prior of the
rest is a mixture of inverse gamma distributions (Makalic and Schmidt, IEEE Signal Processing Letters 23, 2016).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from saltus.errors import SaltusError
from saltus.measure.intervals import Estimate, Floats, check_intervals, check_level
from saltus.measure.variance_draws import Labels, compare_chains, draw_spreads

Part = Literal["map", "seed", "row", "rest"]
"""What a part of the variance comes from; where each seed has one row, its part is the rest."""

CONVERGED = 1.05
"""Largest R-hat at which chains count as having found the same."""

CHAINS = 4
_MOST_DRAWS = 4_000
_MOST_EFFECTS = 600
"""Maps, seeds and rows together; the time of a draw grows with the cube of it."""


@dataclass(frozen=True)
class VarianceSplit:
    """What each part has of the variance of natural log steps."""

    spreads: Mapping[Part, Estimate]
    """Standard deviations of natural log steps, with credible intervals; the parts that the data have, in order."""
    shares: Mapping[Part, Estimate]
    """Of the variance; medians, which need not sum to 1. A lower limit near 0 stands for a part that may be nothing."""
    agreement: Estimate | None
    """Correlation of log steps of the rows between two seeds of one map; None with one row, or one seed a map."""
    maps: int
    seeds: int
    rows: int
    """Of all maps together."""
    units: int
    events: int
    """Units that emerged within the budget."""
    r_hat: float
    """Largest of the shares, split chains; near 1 where all chains found the same."""

    @property
    def confounded(self) -> bool:
        """Whether each map has one seed, so that what is called the seed's part is that of both."""
        return 1 < self.maps == self.seeds

    @property
    def converged(self) -> bool:
        """Whether the chains agree; if not, the intervals are not to be trusted."""
        return self.r_hat <= CONVERGED


def split_variance(
    left: ArrayLike,
    right: ArrayLike,
    maps: ArrayLike,
    seeds: ArrayLike,
    rows: ArrayLike,
    generator: np.random.Generator,
    *,
    level: float = 0.95,
    draws: int = 1_000,
) -> VarianceSplit:
    """Split the variance of log steps, from intervals (left, right] [unit]; see `measure.intervals` for the ends.

    `maps`, `seeds` and `rows` are labels [unit]; a seed or a row of one name in two maps is another one. The map's part
    is left out where there is one map, the row's where each map has one row. As many `draws` for each of 4 chains are
    kept as thrown away before, and twice as many are made until the chains agree.

    Raises:
        ValueError: if a label is missing.
        SaltusError: if a unit is there twice or was there at step 0, too few emerged, or there is nothing to split.

    """
    while True:
        (found,) = split_samples([left], [right], maps, seeds, rows, generator, level=level, draws=draws)
        if found.converged or 2 * draws > _MOST_DRAWS:
            return found
        draws *= 2


def split_samples(
    left: Sequence[ArrayLike],
    right: Sequence[ArrayLike],
    maps: ArrayLike,
    seeds: ArrayLike,
    rows: ArrayLike,
    generator: np.random.Generator,
    *,
    level: float = 0.95,
    draws: int = 1_000,
) -> list[VarianceSplit]:
    """As `split_variance`, of several samples [sample] of one design at once, as simulations need, by `draws` alone."""
    check_level(level)
    ends = [check_intervals(*both) for both in zip(left, right, strict=True)]
    labels = _label(len(ends[0][0]), maps, seeds, rows)
    for both in ends:
        _check_events(*both)
    parts = _choose_parts(labels)
    with np.errstate(divide="ignore"):
        lows = np.log(np.maximum([low for low, _ in ends for _ in range(CHAINS)], 0.0))
        highs = np.log([high for _, high in ends for _ in range(CHAINS)])
    drawn = draw_spreads(lows, highs, [labels[part] for part in parts], draws, generator)
    per_sample = drawn.reshape(len(drawn), len(ends), CHAINS, draws)
    return [_summarise(per_sample[:, n], parts, labels, ends[n][1], level) for n in range(len(ends))]


def _summarise(
    spreads: Floats, parts: Sequence[Part], labels: Mapping[Part, Labels], right: Floats, level: float
) -> VarianceSplit:
    """From draws [part, chain, draw], the rest last."""

    def estimate(values: Floats) -> Estimate:
        low, middle, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
        return Estimate(float(middle), float(low), float(high), level)

    names: list[Part] = [*parts, "rest"]
    variances = spreads**2
    shares = variances / variances.sum(axis=0)
    row = variances[parts.index("row")] if "row" in parts else None
    return VarianceSplit(
        spreads=dict(zip(names, map(estimate, spreads), strict=True)),
        shares=dict(zip(names, map(estimate, shares), strict=True)),
        agreement=None if row is None else estimate(row / (row + variances[-1])),
        maps=int(labels["map"].max()) + 1,
        seeds=int(labels["seed"].max()) + 1,
        rows=int(labels["row"].max()) + 1,
        units=len(right),
        events=int(np.isfinite(right).sum()),
        r_hat=max(compare_chains(np.sqrt(share)) for share in shares),
    )


def _check_events(left: Floats, right: Floats) -> None:
    """Refuse steps of which nothing is known.

    Raises:
        SaltusError: if a unit was there at step 0, or fewer than two emerged between two evaluations.

    """
    if (right == 0.0).any():
        raise SaltusError(
            f"split: {int((right == 0.0).sum())} units were there at step 0, which has no logarithm; name units that "
            "emerge later"
        )
    if int((np.isfinite(right) & (left > 0.0)).sum()) < 2:
        raise SaltusError(
            f"split: {int(np.isfinite(right).sum())} of {len(left)} units emerged, and fewer than two of them between "
            "two evaluations after step 0, so nothing is known of their spread; train longer, or evaluate more often"
        )


def _label(units: int, maps: ArrayLike, seeds: ArrayLike, rows: ArrayLike) -> dict[Part, Labels]:
    """[unit] numbers from 0 of each unit's map, of its seed and of its row, which belong to their map."""
    given = {"maps": np.asarray(maps), "seeds": np.asarray(seeds), "rows": np.asarray(rows)}
    for name, labels in given.items():
        if labels.shape != (units,):
            raise ValueError(f"{name} has shape {labels.shape}; it needs one label for each of the {units} units")
    places = {name: np.unique(labels, return_inverse=True)[1].astype(np.int64) for name, labels in given.items()}

    def number(*names: str) -> Labels:
        return np.unique([places[name] for name in names], axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)

    if int(number("maps", "seeds", "rows").max()) + 1 < units:
        raise SaltusError("split: a row of one seed and map is there twice; give each run once")
    return {"map": places["maps"], "seed": number("maps", "seeds"), "row": number("maps", "rows")}


def _choose_parts(labels: Mapping[Part, Labels]) -> list[Part]:
    """The parts beside the rest that the design can tell apart.

    Raises:
        SaltusError: if there is none, or the effects are too many.

    """
    sizes = {part: int(numbers.max()) + 1 for part, numbers in labels.items()}
    maps, seeds, rows = sizes["map"], sizes["seed"], sizes["row"]
    if seeds == 1:
        raise SaltusError("split: there is one seed; how much seeds differ takes two or more, on one map or on several")
    wanted: dict[Part, bool] = {
        "map": 1 < maps < seeds,  # else each map has one seed, and the two are one part
        "seed": seeds < len(labels["map"]),
        "row": maps < rows < len(labels["map"]),
    }
    parts: list[Part] = [part for part, there in wanted.items() if there]
    if not parts:
        raise SaltusError(
            f"split: there are {maps} maps and {seeds} seeds with one row each, so that all of the spread is one part; "
            "give several rows, or several maps with several seeds each"
        )
    if (effects := sum(sizes[part] for part in parts)) > _MOST_EFFECTS:
        raise SaltusError(
            f"split: there are {effects} maps, seeds and rows; at most {_MOST_EFFECTS} are split at once, so give "
            "fewer of them"
        )
    return parts
