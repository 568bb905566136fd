"""What patches did, with bootstrap intervals over prompts: each head's effect, each set's share of the gain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from saltus.lm.patching.records import PatchRecords
from saltus.specs.checkpoints import EffectUnit

_OF_DONOR = ("reverse", "zero", "mean", "resample", "uniform")
"""Kinds of effects that change the donor; the others change the recipient."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile bootstrap interval."""

    estimate: float
    lower: float
    upper: float
    level: float
    """Confidence level, in (0, 1)."""


@dataclass(frozen=True)
class HeadEffect:
    """What one kind of patch of one head does."""

    kind: str
    layer: int
    head: int
    effect: Interval
    """Mean over prompts of the change of the target's probability; NaN where no prompt could be measured."""
    log_effect: Interval
    """The same of its log probability, in nats: it tells effects apart where all probabilities are small."""
    difference: Interval
    """The same of its logit less that of its best foil, in nats; NaN where no prompt has a foil of one token."""

    def of(self, unit: EffectUnit) -> Interval:
        """The effect in a unit."""
        return {"probability": self.effect, "log-probability": self.log_effect, "logit-difference": self.difference}[
            unit
        ]


@dataclass(frozen=True)
class SetEffect:
    """What replacing a set of heads does to the recipient."""

    kind: str
    draw: int
    heads: tuple[tuple[int, int], ...]
    """(layer, head), in the order in which they were chosen."""
    probability: Interval
    """Mean over prompts of the target's probability."""
    share: Interval
    """Of the gain, the donor's mean probability less the recipient's; NaN where the donor gains nothing."""


@dataclass(frozen=True)
class Agreement:
    """How well two rankings of the heads agree."""

    spearman: float
    """Rank correlation over all heads; NaN where all are equal in one of them."""
    overlap: float
    """Share of the `first` heads of one that are among the `first` of the other."""
    first: int


@dataclass(frozen=True)
class PatchSummary:
    """A patch in numbers."""

    heads: tuple[HeadEffect, ...]
    sets: tuple[SetEffect, ...]
    screen: Agreement
    """Of the first-order estimates with the exact effects of kind 'patch', by their means over prompts."""


def bootstrap_mean(
    values: ArrayLike, generator: np.random.Generator, level: float = 0.95, draws: int = 10_000
) -> Interval:
    """Mean of `values` [prompt] and its percentile interval over resampled prompts."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"values has shape {values.shape}; allowed is one axis with at least one prompt")
    _check_level(level)
    return _bracket(float(values.mean()), draw_weights(len(values), generator, draws) @ values, level)


def summarise_effects(
    records: PatchRecords, generator: np.random.Generator, level: float = 0.95, draws: int = 10_000, first: int = 10
) -> PatchSummary:
    """Every head's mean effect by kind, every set's share of the gain, and how well the screen ranks the heads.

    All intervals are over the same resampled prompts. A resample in which the donor gains nothing counts as a share
    without bound, upwards or downwards, whichever the set's own change says.
    """
    _check_level(level)
    prompts = len(records.prompts)
    weights = draw_weights(prompts, generator, draws)
    heads: list[HeadEffect] = []
    exact: dict[tuple[int, int], float] = {}
    keys = ("kind", "layer", "head")
    differences = _by_prompt(records.effects, keys, prompts, "difference")
    for (kind, layer, head), values in _by_prompt(records.effects, keys, prompts).items():
        side = "donor" if kind in _OF_DONOR else "recipient"
        before = records.prompts[side].to_numpy()
        apart = records.prompts[f"{side}_difference"].to_numpy(zero_copy_only=False).astype(np.float64)
        change, log_change = values - before, _take_log(values) - _take_log(before)
        changes = (change, log_change, differences[kind, layer, head] - apart)
        effects = (_bracket_known(each, weights, level) for each in changes)
        heads.append(HeadEffect(kind, layer, head, *effects))
        if kind == "patch":
            exact[layer, head] = float(change.mean())
    estimated = {
        key: float(values.mean())
        for key, values in _by_prompt(records.screen, ("layer", "head"), prompts, "effect").items()
    }
    ranked = sorted(exact)
    agreement = compare_rankings([estimated[key] for key in ranked], [exact[key] for key in ranked], first)
    return PatchSummary(tuple(heads), tuple(_summarise_sets(records, weights, level)), agreement)


def compare_rankings(estimated: ArrayLike, exact: ArrayLike, first: int) -> Agreement:
    """Agreement of two arrays [head] of effects; the largest come first, and ties in the order of the heads."""
    estimated, exact = np.asarray(estimated, dtype=np.float64), np.asarray(exact, dtype=np.float64)
    if estimated.shape != exact.shape or estimated.ndim != 1 or not len(exact):
        raise ValueError(
            f"estimated has shape {estimated.shape} and exact {exact.shape}; allowed is one value for each head in both"
        )
    first = min(first, len(exact))
    ranks = [stats.rankdata(effects) for effects in (estimated, exact)]
    constant = any(np.ptp(rank) == 0 for rank in ranks)
    spearman = float("nan") if constant else float(np.corrcoef(*ranks)[0, 1])
    best = [set(np.argsort(-effects, kind="stable")[:first].tolist()) for effects in (estimated, exact)]
    return Agreement(spearman, len(best[0] & best[1]) / first, first)


def draw_weights(prompts: int, generator: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """[draw, prompt] the share of each prompt in each of `draws` resamples with replacement."""
    return generator.multinomial(prompts, np.full(prompts, 1.0 / prompts), size=draws) / prompts


def _summarise_sets(records: PatchRecords, weights: NDArray[np.float64], level: float) -> list[SetEffect]:
    recipient, donor = (records.prompts[name].to_numpy() for name in ("recipient", "donor"))
    gain = donor - recipient
    summaries: list[SetEffect] = []
    for (kind, draw, heads), values in _by_prompt(records.sets, ("kind", "draw", "heads"), len(recipient)).items():
        change = values - recipient
        shares = _divide(weights @ change, weights @ gain)
        if gain.mean() > 0.0:
            share = _bracket(float(change.mean() / gain.mean()), shares, level)
        else:
            share = Interval(float("nan"), float("nan"), float("nan"), level)
        probability = _bracket(float(values.mean()), weights @ values, level)
        summaries.append(SetEffect(kind, draw, heads, probability, share))
    return summaries


def _take_log(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """In nats; what underflowed counts as the smallest number, so that no mean is infinite."""
    return np.log(np.maximum(probability, np.finfo(np.float64).tiny))


def _divide(change: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares [draw]; without bound where there is no gain."""
    some = gain > 0.0
    return np.where(some, change / np.where(some, gain, 1.0), np.copysign(np.inf, change))


def _by_prompt(
    table: pa.Table, keys: tuple[str, ...], prompts: int, column: str = "probability"
) -> dict[tuple[Any, ...], NDArray[np.float64]]:
    """A column as arrays [prompt] by the values of `keys`, in the order of the table; lists become tuples."""
    grouped: dict[tuple[Any, ...], NDArray[np.float64]] = {}
    columns: list[list[Any]] = [table[name].to_pylist() for name in keys]
    columns = [[tuple(map(tuple, x)) if isinstance(x, list) else x for x in values] for values in columns]
    for *key, prompt, value in zip(*columns, table["prompt"].to_pylist(), table[column].to_pylist(), strict=True):
        grouped.setdefault(tuple(key), np.full(prompts, np.nan))[prompt] = np.nan if value is None else value
    return grouped


def _bracket_known(change: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> Interval:
    """As `_bracket` over the prompts that could be measured; resamples without any of them do not count."""
    known = ~np.isnan(change)
    if not known.any():
        return Interval(float("nan"), float("nan"), float("nan"), level)
    total = weights[:, known].sum(axis=1)
    drawn = total > 0.0
    means = (weights[drawn][:, known] @ change[known]) / total[drawn]
    return _bracket(float(change[known].mean()), means, level)


def _bracket(estimate: float, drawn: NDArray[np.float64], level: float) -> Interval:
    """Percentiles of what was drawn; of values that are there, so that unbounded ones do no harm."""
    lower, upper = np.quantile(drawn, [(1.0 - level) / 2, (1.0 + level) / 2], method="nearest")
    return Interval(estimate, float(lower), float(upper), level)


def _check_level(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}; allowed is a number between 0 and 1, such as 0.95")
