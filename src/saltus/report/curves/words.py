"""Emergences in words."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from saltus.curves import Emergence
from saltus.measure.abruptness import STRETCH
from saltus.measure.closed_forms import bound_unseen
from saltus.measure.intervals import Estimate
from saltus.measure.rises import Rises
from saltus.report.html.labels import join, name_seed, plural, protect, shorten

Run = tuple[str, str]
"""Group and seed."""


def format_interval(emergence: Emergence) -> str:
    """Such as `(1,180, 1,200]`, or `> 2,000` where it is censored, or `diverged at 350`."""
    if emergence.by is None:
        return f"> {max(emergence.after, 0):,}" if emergence.diverged is None else f"diverged at {emergence.diverged:,}"
    return f"({emergence.after:,}, {emergence.by:,}]" if emergence.after >= 0 else f"at {emergence.by:,}"


def format_step(estimate: Estimate) -> str:
    """A step with its limits, such as `890 [560, 1,200]`; `not reached [560, ∞]` beyond the budget."""
    lower, upper = ("∞" if np.isinf(end) else f"{end:,.0f}" for end in (estimate.lower, estimate.upper))
    reached = estimate.value is not None and np.isfinite(estimate.value)
    return f"{f'{estimate.value:,.0f}' if reached else 'not reached'} [{lower}, {upper}]"


def format_share(estimate: Estimate) -> str:
    """A share with its limits, such as `88% [47%, 100%]`."""
    value = "open" if estimate.value is None else f"{estimate.value:.0%}"
    return f"{value} [{estimate.lower:.0%}, {estimate.upper:.0%}]"


def tell_limits(seeds: int) -> str:
    """What so many seeds cannot tell, at 95%, in a sentence: whether they bound a median, and what they may miss."""
    if seeds == 1:
        return "One seed cannot tell how much seeds differ."
    unseen = f"what happens in fewer than {bound_unseen(seeds):.0%} of seeds may well not show"
    if 0.5**seeds > 0.025:  # the interval from the first to the last seed misses the median so often on each side
        fewest = next(n for n in range(1, 10) if 0.5**n <= 0.025)
        return f"{seeds} seeds cannot bound a median on both sides ({fewest} can), and {unseen}."
    return f"{unseen[0].upper()}{unseen[1:]} among {seeds}."


def describe_emergence(emergence: Emergence) -> str:
    """When a unit emerged and whether it was lost, such as `(20, 30], lost at 50` or `not by 80`."""
    if emergence.by is None:
        gone = "" if emergence.diverged is None else f", diverged at {emergence.diverged:,}"
        return f"not by {max(emergence.after, 0):,}{gone}"
    return format_interval(emergence) + ("" if emergence.lost is None else f", lost at {emergence.lost:,}")


def describe_end(found: Sequence[Emergence]) -> str:
    """Until when the censored ones were without it: `by step 80`, or `by their last step` where that differs."""
    ends = {max(emergence.after, 0) for emergence in found if emergence.censored}
    return f"by step {ends.pop():,}" if len(ends) == 1 else "by their last step"


def tell_rises(rises: Rises | None, noun: str = "unit") -> list[str]:
    """How abruptly units came, and whether their jumps are there on a smooth metric; empty where none was measured."""
    if rises is None:
        return []
    text = (
        f"How abruptly: of {plural(rises.curves, noun)} that emerged, {rises.jumps} jumped (half of the rise or more "
        f"within a stretch of {STRETCH:.0%} of the steps)"
    )
    text += f", and {rises.unclear} may have, between two evaluations" if rises.unclear else ""
    text += f"; medians: {rises.steepest:.0%} of the rise in the steepest such stretch, a width from 10% to 90% of the "
    text += f"rise of {rises.width:.2f} of the step of its middle."
    if rises.smooth and rises.jumps:
        others = rises.jumps - rises.both - rises.alone
        text += f" On the {rises.smooth} {rises.both} of these {rises.jumps} jump as well, {rises.alone} do not"
        text += f", of {others} it cannot be told." if others else "."
    return [text]


def list_runs(found: Sequence[Emergence]) -> list[Run]:
    """Group and seed of each run, in their order."""
    return list(dict.fromkeys((emergence.key.group, emergence.key.seed) for emergence in found))


def name_runs(runs: Sequence[Run]) -> list[str]:
    """Each seed, with its group where there are several; for labels of plotly."""
    alone = len({group for group, _ in runs}) == 1
    return [protect(name_seed(seed) if alone else f"{shorten(group)}, {name_seed(seed)}") for group, seed in runs]


def count_emerged(found: Sequence[Emergence]) -> int:
    """How many are not censored."""
    return sum(not emergence.censored for emergence in found)


def caption_raster(found: Sequence[Emergence], noun: str = "unit", labels: Mapping[str, str] | None = None) -> str:
    """Of a raster: how many tiles emerged, and which units did in every seed, or in none.

    `noun` is what a unit is called, `labels` are shorter names for some units.
    """
    seeds = len(list_runs(found))
    there = Counter({emergence.key.unit: 0 for emergence in found})
    there.update(emergence.key.unit for emergence in found if not emergence.censored)
    text = (
        f"{count_emerged(found)} of {plural(len(found), noun)} emerged ({plural(seeds, 'seed')}, "
        f"{plural(len(there), noun)} each)"
    )
    text += "." if count_emerged(found) == len(found) else f"; hatched tiles had not {describe_end(found)}, which is "
    text += "" if count_emerged(found) == len(found) else "all that is known of them."
    if count_emerged(found):
        text += " The left half of a tile is the last step without, the right half the first step with."
    for count, seed in ((seeds, "Every seed"), (0, "No seed")):
        units = [shorten((labels or {}).get(unit, unit)) for unit, emerged in there.items() if emerged == count]
        if 0 < len(units) < len(there):
            text += f" {seed} learned {join(units)}."
    gone = {(e.key.group, e.key.seed) for e in found if e.diverged is not None}
    if gone:
        text += f" {plural(len(gone), 'seed')} diverged: what had not emerged there never will."
    lost = sum(emergence.lost is not None for emergence in found)
    return text + (f" A cross marks {plural(lost, 'tile')} lost at least once after." if lost else "")
