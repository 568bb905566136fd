"""What a patch found, arranged as its figures want it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saltus.lm.patching.effects import Interval, PatchSummary, SetEffect, bootstrap_mean, summarise_effects
from saltus.lm.patching.records import PatchRecords
from saltus.report.html.labels import plural
from saltus.seeding import Streams

SMALL = 1e-3
"""Of a change of probability: below it three decimals say nothing."""
INTO_RECIPIENT = ("patch", "self", "shuffled")
"""Kinds of effects on the recipient."""
INTO_DONOR = ("reverse", "zero", "mean", "resample", "uniform")
"""Kinds of effects on the donor."""


@dataclass(frozen=True)
class PatchResult:
    """One patch in numbers."""

    records: PatchRecords
    effects: PatchSummary
    recipient: float
    """Mean probability of the target over the prompts, unpatched."""
    donor: float
    """The same of the donor."""
    gain: Interval
    """Of the donor over the recipient, mean over the prompts."""
    maps: dict[str, NDArray[np.float64]]
    """By kind, [layer, head] mean change of the target's probability; NaN where it is not known."""
    estimates: NDArray[np.float64]
    """[layer, head] first-order estimate of the effect of kind 'patch', mean over the prompts."""

    @property
    def heads(self) -> int:
        """Heads of the model."""
        return self.estimates.size

    @property
    def exact(self) -> int:
        """Heads that were measured exactly; the others were screened alone."""
        return int(np.isfinite(self.maps["patch"]).sum())

    @property
    def without_foil(self) -> int:
        """Prompts that have no foil of one token, and so no difference of logits."""
        known = self.records.prompts["recipient_difference"].to_numpy(zero_copy_only=False).astype(np.float64)
        return int(np.isnan(known).sum())

    def sets(self, kind: str) -> list[SetEffect]:
        """Sets of one kind, small ones first."""
        return sorted((found for found in self.effects.sets if found.kind == kind), key=lambda found: len(found.heads))

    def random_sets(self, size: int) -> list[SetEffect]:
        """Draws of so many random heads."""
        return [found for found in self.sets("random") if len(found.heads) == size]

    def find_effect(self, kind: str, layer: int, head: int) -> Interval | None:
        """One head's effect; None where it was not measured."""
        key = (kind, layer, head)
        found = (e.effect for e in self.effects.heads if (e.kind, e.layer, e.head) == key)
        return next(found, None)


def summarise_patch(records: PatchRecords) -> PatchResult:
    """Means over prompts with their bootstrap intervals."""
    streams = Streams(records.spec.master_seed)
    effects = summarise_effects(records, streams.generator("bootstrap"))
    layers, heads = (1 + max(records.screen[axis].to_pylist(), default=0) for axis in ("layer", "head"))
    maps: dict[str, NDArray[np.float64]] = {}
    for found in effects.heads:
        of_kind = maps.setdefault(found.kind, np.full((layers, heads), np.nan))
        of_kind[found.layer, found.head] = found.effect.estimate
    recipient, donor = (records.prompts[name].to_numpy() for name in ("recipient", "donor"))
    return PatchResult(
        records=records,
        effects=effects,
        recipient=float(recipient.mean()),
        donor=float(donor.mean()),
        gain=bootstrap_mean(donor - recipient, streams.generator("bootstrap")),
        maps=maps,
        estimates=_average_screen(records, (layers, heads)),
    )


def describe_verdict(result: PatchResult) -> str:
    """Whether the patterns of a few heads bring the gain, in plain words."""
    ends = f"from {result.recipient:.3f} to {result.donor:.3f}"
    if result.gain.estimate <= 0.0:
        return (
            f"The donor gives the target no more probability than the recipient ({result.donor:.3f} against "
            f"{result.recipient:.3f}), so there is no gain that patterns could bring."
        )
    text = "" if result.gain.lower > 0.0 else f"The gain itself is not certain ({format_change(result.gain)}). "
    greedy, everything = result.sets("greedy"), result.sets("all")
    whole = (
        f"all {result.heads:,} heads together {format_share(everything[0].share)}"
        if everything and result.heads > 1
        else ""
    )
    if not greedy:
        return f"{text}No set of heads was measured for the gain {ends}{'; ' + whole if whole else ''}."
    asked = result.records.spec.share
    best = next((found for found in greedy if found.share.estimate >= asked), None)
    if best is not None:
        text += f"{_name_patterns(best).capitalize()} back "
        return f"{text}{format_share(best.share)} of the gain ({ends}). {_compare_random(result, best)}"
    best = max(greedy, key=lambda found: found.share.estimate)
    enough = bool(whole) and everything[0].share.estimate >= asked
    text += (
        f"{'So few heads' if enough else 'Patching'} did not recover the gain ({ends}): {_name_patterns(best)} back "
        f"{format_share(best.share)} of it, where {asked:.0%} was asked for"
    )
    if whole and not enough:
        return f"{text}; {whole}, so the patterns alone do not bring it."
    told = f"; {whole}, so the patterns do bring it, of more heads" if whole else ""
    return f"{text}{told}. {_compare_random(result, best)}".strip()


def format_share(share: Interval) -> str:
    """Such as `84% [70%, 93%]`."""
    return f"{_percent(share.estimate)} [{_percent(share.lower)}, {_percent(share.upper)}]"


def format_change(change: Interval) -> str:
    """Such as `+0.420 [+0.310, +0.520]`."""
    values = (change.estimate, change.lower, change.upper)
    estimate, lower, upper = (format_effect(value, max(map(abs, values))) for value in values)
    return f"{estimate} [{lower}, {upper}]"


def format_effect(value: float, size: float | None = None) -> str:
    """Such as `+0.420`, or `+2e-04` where `size` is below a thousandth; the size of the value unless one is given."""
    size = abs(value) if size is None else size
    return f"{value:+.0e}" if 0.0 < size < SMALL else f"{value:+z.3f}"


def format_limit(limit: float) -> str:
    """Up to which size a colour tells effects, such as `±0.420`."""
    return f"±{format_effect(limit)[1:]}"


def name_head(layer: int, head: int) -> str:
    """Such as `layer 3, head 5`."""
    return f"layer {layer}, head {head}"


def list_heads(found: SetEffect) -> str:
    """Such as `3.5 2.1`, as layer.head in the order in which they were chosen; of many only how many."""
    if len(found.heads) > 16:
        return f"{len(found.heads)} heads"
    return " ".join(f"{layer}.{head}" for layer, head in found.heads)


def _compare_random(result: PatchResult, best: SetEffect) -> str:
    drawn = [found.share.estimate for found in result.random_sets(len(best.heads))]
    if not drawn:
        return ""
    text = f"{plural(len(best.heads), 'random head')} bring back {np.mean(drawn):.0%} on average over "
    text = text.replace("head bring", "head brings") + f"{plural(len(drawn), 'draw')} and {max(drawn):.0%} at most"
    return f"{text}, so this set stands out little." if max(drawn) >= best.share.lower else f"{text}."


def _name_patterns(found: SetEffect) -> str:
    """The beginning of a sentence on what a set of heads brings back."""
    count = len(found.heads)
    return "the pattern of the best head brings" if count == 1 else f"the patterns of the best {count} heads bring"


def _percent(share: float) -> str:
    if np.isnan(share):
        return "\N{EN DASH}"
    return f"{share:z.0%}" if np.isfinite(share) else f"{'-' if share < 0 else ''}∞"


def _average_screen(records: PatchRecords, shape: tuple[int, int]) -> NDArray[np.float64]:
    total, count = np.zeros(shape), np.zeros(shape)
    place = (records.screen["layer"].to_numpy(), records.screen["head"].to_numpy())
    np.add.at(total, place, records.screen["effect"].to_numpy())
    np.add.at(count, place, 1.0)
    return np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
