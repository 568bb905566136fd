"""Draws from the posterior of a variance split; what is drawn, and from which priors, is said in `measure.variance`."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from saltus.measure.intervals import Floats

SCALE = 1.0
"""Of the half-Cauchy priors, in natural logarithms of steps."""

Labels = NDArray[np.int64]


def draw_spreads(
    low: Floats, high: Floats, parts: Sequence[Labels], draws: int, generator: np.random.Generator
) -> Floats:
    """Draws [part, chain, draw] of the spread of each part, the rest last.

    `low` and `high` [chain, unit] are the ends of the log steps, `parts` [unit] the numbers of the maps, seeds or rows
    of a part. Chains with different ends are of different samples of one design. As many draws come before those that
    are kept.
    """
    (chains, units), sizes = low.shape, [int(part.max()) + 1 for part in parts]
    offsets = np.cumsum([0, *sizes])
    design = np.zeros((units, offsets[-1] + 1))  # a column for each effect, and the level
    for part, offset in zip(parts, offsets, strict=False):
        design[np.arange(units), offset + part] = 1.0
    design[:, -1] = 1.0
    product = design.T @ design
    diagonal = np.arange(design.shape[1] - 1)
    block = np.repeat(np.arange(len(parts)), sizes)  # [effect]

    outer = np.where(np.isinf(low), np.where(np.isinf(high), 0.0, high - 1.0), low)
    logs = np.where(np.isinf(high), outer + 0.5, (outer + high) / 2)
    scale = np.exp(generator.normal(-1.0, 1.0, (chains, len(parts))))  # redundant, [chain, part]
    inner = np.ones((chains, len(parts)))
    rest = np.exp(generator.normal(-1.0, 1.0, chains))
    kept = np.empty((len(parts) + 1, chains, draws))
    for turn in range(2 * draws):
        # all effects and the level at once: a draw from N(Q^-1 b, Q^-1) by one solution with noise on both terms
        spread = np.maximum(np.abs(scale) * inner, 1e-8)[:, block]  # [chain, effect]
        precision = product / rest[:, None, None] ** 2
        precision[:, diagonal, diagonal] += 1.0 / spread**2
        noisy = (logs / rest[:, None] + generator.normal(size=logs.shape)) / rest[:, None]
        right = noisy @ design
        right[:, :-1] += generator.normal(size=spread.shape) / spread
        effects = np.linalg.solve(precision, right[:, :, None])[:, :, 0]

        # the scales by regression on the unscaled effects, the level again
        unscaled = effects[:, :-1] / np.where(scale == 0.0, 1e-8, scale)[:, block]
        columns = [unscaled[:, start:stop] @ design[:, start:stop].T for start, stop in pairwise(offsets)]
        regressors = np.stack([*columns, np.ones_like(logs)], axis=2)  # [chain, unit, part and level]
        precision = np.einsum("cui,cuj->cij", regressors, regressors) / rest[:, None, None] ** 2
        each = np.arange(len(parts))
        precision[:, each, each] += 1.0 / SCALE**2
        noisy = (logs / rest[:, None] + generator.normal(size=logs.shape)) / rest[:, None]
        right = np.einsum("cu,cui->ci", noisy, regressors)
        right[:, :-1] += generator.normal(size=scale.shape) / SCALE
        weights = np.linalg.solve(precision, right[:, :, None])[:, :, 0]
        scale = weights[:, :-1]
        centre = np.einsum("cui,ci->cu", regressors, weights)

        squares = np.add.reduceat(unscaled**2, offsets[:-1], axis=1)
        inner = np.sqrt((1.0 + squares) / generator.chisquare(1.0 + np.array(sizes), scale.shape))
        missed = ((logs - centre) ** 2).sum(axis=1)
        mixed = generator.exponential(size=chains) / (1.0 / SCALE**2 + 1.0 / rest**2)  # one over the auxiliary
        rest = np.sqrt((missed + 2.0 * mixed) / generator.chisquare(units + 1.0, chains))
        logs = _draw_between(low, high, centre, rest[:, None], generator)
        if turn >= draws:
            kept[:-1, :, turn - draws] = (np.abs(scale) * inner).T
            kept[-1, :, turn - draws] = rest
    return np.maximum(kept, 1e-12)


def _draw_between(low: Floats, high: Floats, centre: Floats, spread: Floats, generator: np.random.Generator) -> Floats:
    """Normal draws [chain, unit] around `centre`, each between its ends; computed in the smaller tail."""
    start, stop = (low - centre) / spread, (high - centre) / spread
    flipped = start > 0.0
    start, stop = np.where(flipped, -stop, start), np.where(flipped, -start, stop)
    part = generator.random(start.shape)
    with np.errstate(divide="ignore"):
        chance = np.logaddexp(log_ndtr(start) + np.log1p(-part), log_ndtr(stop) + np.log(part))
    found = np.clip(ndtri_exp(chance), start, stop)
    return centre + spread * np.where(flipped, -found, found)


def compare_chains(values: Floats) -> float:
    """R-hat of draws [chain, draw], each chain in two halves (Gelman et al., Bayesian Data Analysis, 3rd ed., 11.4)."""
    halves = values.reshape(2 * len(values), -1)
    within: Any = halves.var(axis=1, ddof=1).mean()
    between: Any = halves.mean(axis=1).var(ddof=1)
    count = halves.shape[1]
    return float(np.sqrt((count - 1) / count + between / max(within, 1e-300)))
